"""Look whether this machine can simulate, and say how to mend what is wrong: python -m sim.doctor

Looks at rendering, disk, memory for the workers, the versions that scores depend on, LIBERO's assets and whether the
policy learned from them, and the policy's device. python -m sim.eval looks at the same and speaks up if something is
wrong. Exit status: 0 all is well, 1 something is not.
"""

import argparse
import os
from collections.abc import Iterator
from pathlib import Path

from common import cli
from common.cli import positive
from common.errors import UserError
from policy import DEFAULT_BUNDLE
from sim.evaluation.open_policy import open_bundle
from sim.evaluation.provenance import notes
from sim.libero import assets
from sim.machine import checks
from sim.machine.checks import Finding


def parser() -> argparse.ArgumentParser:
    """The command line."""
    command = cli.CommandParser("sim.doctor", __doc__)
    command.add_argument("--checkpoint", type=Path, default=DEFAULT_BUNDLE, metavar="FILE", help="bundle to look at")
    command.add_argument(
        "--assets", type=Path, metavar="DIR", help="LIBERO's assets, or 'pack'; default: see docs/assets.md"
    )
    command.add_argument("--out", type=Path, default=Path("results"), metavar="DIR", help="where results will be kept")
    command.add_argument(
        "--workers", type=positive, default=len(os.sched_getaffinity(0)), metavar="N", help="default: one a core"
    )
    command.add_argument("--device", metavar="NAME", help="device of the policy (default: cuda if there is one)")
    command.add_argument("--debug", action="store_true", help="show tracebacks")
    return command


def examine(options: argparse.Namespace) -> Iterator[Finding]:
    """Each check in turn."""
    yield checks.rendering()
    yield checks.folder("disk", options.out, "make room, or name another --out")
    yield checks.cache()
    yield checks.memory(options.workers)
    yield checks.versions()
    yield checks.device(options.device)
    yield from _assets_and_bundle(options)


def _assets_and_bundle(options: argparse.Namespace) -> Iterator[Finding]:
    found, about = None, {}
    try:
        about = open_bundle(options.checkpoint).describe()
        yield Finding("bundle", f"{about['name']} {about['hash']}, {options.checkpoint}")
    except UserError as error:
        yield Finding.of("bundle", error)
    try:
        found = assets.present(options.assets)
    except UserError as error:
        yield Finding.of("assets", error)
        return
    if found is None:
        state = "not here: commands ask the hub, and else use the procedural pack, where scores are not comparable"
        yield Finding("assets", state, "python -m sim.assets download")
    elif said := notes(found, about):
        yield Finding("assets", "; ".join(said), "name others with --assets or LIBERO_ASSETS")
    else:
        yield Finding("assets", f"{found}, digest {found.digest}")


def main(argv: list[str]) -> int:
    """Print each finding; 1 if there is something to mend."""
    findings = []
    for finding in examine(parser().parse_args(argv)):
        print(f"{'!!' if finding.mend else 'ok'} {finding.subject:10} {finding.state}", flush=True)
        if finding.mend:
            print(f"   {'':10} -> {finding.mend}", flush=True)
        findings.append(finding)
    return 1 if any(finding.mend for finding in findings) else 0


if __name__ == "__main__":
    cli.run(main)
