"""Collect demonstrations: ``python -m sim.collect --suite libero_10 --episodes 50``.

Scripted experts play freshly sampled placements (never the shipped initial states); successes are written as LIBERO
HDF5 files with exact point tracks beside them. A collection may be killed at any moment and started again: what is
there is kept and only what is missing is collected.
"""

import argparse
import os
import time
from pathlib import Path

from common import cli
from common.errors import UserError
from sim.collection.collector import Settings, _quota, collect
from sim.libero import assets as assets_module
from sim.libero import benchmark
from sim.libero.selection import parse_suites, parse_tasks


def _parse(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m sim.collect",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example: python -m sim.collect --suite libero_object --tasks 0-4 --episodes 20 --workers 2",
    )
    parser.add_argument("--suite", required=True, help=f"{', '.join(benchmark.SUITES)}, or several (a,b)")
    parser.add_argument("--tasks", help="task indices such as 0,5 or 0-4 (default: all)")
    parser.add_argument("--episodes", type=int, default=50, help="demonstrations wanted per task (default 50)")
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)), help="processes (default: cores)")
    parser.add_argument("--out", type=Path, default=Path("data"), help="writes OUT/demos and OUT/tracks (default data)")
    parser.add_argument("--assets", help="folder of LIBERO's assets (default: see python -m sim.eval --help)")
    parser.add_argument("--image-size", type=int, default=128, help="pixels (default 128)")
    parser.add_argument("--fast-render", action="store_true", help="no multisampling: twice as fast")
    parser.add_argument("--noise", type=float, default=0.08, help="largest noise on executed actions (default 0.08)")
    parser.add_argument("--no-pushes", action="store_true", help="do not push the hand off its way now and then")
    parser.add_argument("--seed", type=int, default=0, help="decides placements and noise (default 0)")
    return parser.parse_args(argv)


def main(argv: list[str]) -> int:
    """Entry point; returns 1 if some task did not get its demonstrations."""
    arguments = _parse(argv)
    if arguments.workers < 1 or arguments.episodes < 1:
        raise UserError("--workers and --episodes must be at least 1")
    tasks = [
        benchmark.task(suite, index)
        for suite in parse_suites([arguments.suite])
        for index in parse_tasks(arguments.tasks, suite)
    ]
    assets = assets_module.resolve(arguments.assets)
    print(f"assets: {assets}")
    settings = Settings(
        arguments.out,
        str(assets.path),
        arguments.image_size,
        arguments.fast_render,
        arguments.noise,
        not arguments.no_pushes,
    )
    started = time.perf_counter()
    before = sum(_quota(settings, task, 1, arguments.seed).done for task in tasks)
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
