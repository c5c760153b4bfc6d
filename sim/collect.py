"""Collect demonstrations: ``python -m sim.collect --suite libero_10 --episodes 50``.

Scripted experts play freshly sampled placements (never the shipped initial states); successes are written as LIBERO
HDF5 files with exact point tracks beside them. A collection may be stopped at any moment, by Ctrl-C or SIGTERM, and
started again: what is there is kept and only what is missing is collected.

With --takeover a policy plays for a random time, then the expert takes over and finishes. Only the expert's part is
stored, in a data set of its own (libero_10_takeover): it shows the policy the way back from where it gets to.

Examples:
  python -m sim.collect --suite libero_object --tasks 0-4 --episodes 20 --workers 2
  python -m sim.collect --suite libero_10 --tasks 8,9 --episodes 20 --takeover checkpoints/default.safetensors
  python -m policy.train_inverse train_datasets='[libero_10:action0.9, libero_10_takeover:action1.0]' ...
"""

import argparse
import os
import sys
import time
from pathlib import Path

from common import cli
from common.cli import not_negative, positive
from common.errors import UserError
from common.files import check_writable
from sim.collection.collector import collect
from sim.collection.kept_environment import Rendering
from sim.collection.quota import Quota
from sim.collection.recording import CollectionSettings
from sim.collection.takeover import Takeover
from sim.libero import assets, benchmark
from sim.libero.selection import parse_suites, parse_tasks
from sim.machine import checks, gl_driver
from sim.suites import SUITES

DEMO_SIZE = 0.03
"""What a demonstration with its tracks takes at 128 pixels (GB)."""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    command = cli.CommandParser("sim.collect", __doc__)
    command.add_argument("--suite", required=True, help=f"{', '.join(SUITES)}, or several (a,b)")
    command.add_argument("--tasks", help="task indices such as 0,5 or 0-4 (default: all)")
    command.add_argument("--episodes", type=positive, default=50, help="demonstrations wanted per task (default 50)")
    command.add_argument(
        "--workers", type=positive, default=len(os.sched_getaffinity(0)), help="processes (default: cores)"
    )
    command.add_argument(
        "--out", type=Path, default=Path("data"), help="writes OUT/demos and OUT/tracks (default data)"
    )
    command.add_argument("--assets", metavar="DIR", help="LIBERO's assets, or 'pack'; default: see docs/assets.md")
    command.add_argument("--image-size", type=positive, default=128, help="pixels (default 128)")
    command.add_argument("--fast-render", action="store_true", help="no multisampling: twice as fast")
    command.add_argument("--noise", type=float, default=0.08, help="largest noise on executed actions (default 0.08)")
    command.add_argument("--no-pushes", action="store_true", help="do not push the hand off its way now and then")
    command.add_argument(
        "--dataset", metavar="NAME", help="name of the data set (default: that of the suite, see above)"
    )
    command.add_argument(
        "--takeover",
        metavar="POLICY",
        help="a bundle, an export or a policy server, which plays before the expert does",
    )
    command.add_argument(
        "--replan", type=positive, default=8, metavar="K", help="actions executed of each of its chunks (default 8)"
    )
    command.add_argument(
        "--device", metavar="NAME", help="device of the policy (default: cuda if there is one, else cpu)"
    )
    command.add_argument("--seed", type=not_negative, default=0, help="decides placements and noise (default 0)")
    return command


def main(argv: list[str]) -> int:
    """Entry point; returns 1 if some task did not get its demonstrations."""
    arguments = parser().parse_args(argv)
    tasks = [
        benchmark.task(suite, index)
        for suite in parse_suites([arguments.suite])
        for index in parse_tasks(arguments.tasks, suite)
    ]
    if arguments.dataset and len({task.suite for task in tasks}) > 1:
        raise UserError("--dataset names the data set of one suite; collect the suites one after the other")
    driver = gl_driver.probe()
    demos = arguments.out / "demos"
    check_writable(demos)
    found = assets.resolve(arguments.assets)
    print(f"assets: {found}")
    needed = len(tasks) * arguments.episodes * DEMO_SIZE * (arguments.image_size / 128) ** 2
    for finding in checks.shortcomings(driver, demos, needed, arguments.workers):
        print(f"warning: {finding}", file=sys.stderr)
    settings = CollectionSettings(
        arguments.out,
        Rendering(str(found.path), arguments.image_size, arguments.fast_render),
        arguments.noise,
        not arguments.no_pushes,
        Takeover(arguments.takeover, arguments.replan, arguments.device) if arguments.takeover else None,
        arguments.dataset,
    )
    started = time.perf_counter()
    before = sum(Quota.resumed(settings, task, 1, arguments.seed).done for task in tasks)
    quotas = collect(settings, tasks, arguments.episodes, arguments.workers, arguments.seed)
    minutes = (time.perf_counter() - started) / 60
    new = sum(quota.done for quota in quotas) - before
    failures = sum(quota.failures for quota in quotas)
    print(f"{new} demonstrations in {minutes:.1f} min ({new / minutes:.1f} a minute), {failures} attempts failed")
    short = [quota for quota in quotas if quota.done < quota.wanted]
    for quota in short:
        print(f"short: {quota.task.suite} {quota.task.index} has {quota.done} of {quota.wanted}")
    return 1 if short else 0


if __name__ == "__main__":
    cli.run(main)
