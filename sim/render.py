"""Render stored demonstrations again: in the procedural pack, with other assets, or with varied looks.

A demonstration's states hold in every set of assets, so what was collected once can be seen in both worlds. The new
data set has the same episodes, with exact tracks; training mixes data sets by naming them together. A run that was
stopped goes on where it stood.

Examples:
  python -m sim.render --suite libero_goal --assets pack --dataset libero_goal_pack
  python -m sim.render --suite libero_goal --looks varied --dataset libero_goal_looks
  python -m sim.render --suite libero_goal --source-dataset libero_goal_takeover --looks varied --dataset takeover_looks
  python -m policy.train_forward train_datasets='[libero_goal:traj0.9, libero_goal_pack:traj0.9]' ...
"""

import argparse
import os
import sys
from pathlib import Path

from common import cli
from common.cli import not_negative, positive
from common.errors import UserError
from common.files import check_writable
from sim.collection.kept_environment import Rendering
from sim.collection.recording import demo_path
from sim.collection.rerendering import RerenderingSettings, rerender
from sim.libero import assets, benchmark
from sim.libero.selection import parse_suites, parse_tasks
from sim.machine import checks, gl_driver


def parser() -> argparse.ArgumentParser:
    """The command line."""
    command = cli.CommandParser("sim.render", __doc__)
    command.add_argument("--suite", required=True, help="whose demonstrations")
    command.add_argument("--tasks", help="task indices such as 0,5 or 0-4 (default: all that have demonstrations)")
    command.add_argument(
        "--source-dataset", metavar="NAME", help="the data set to render (default: the one of the suite's name)"
    )
    command.add_argument("--dataset", required=True, metavar="NAME", help="name of the new data set")
    command.add_argument("--assets", metavar="DIR", help="LIBERO's assets, or 'pack'; default: see docs/assets.md")
    command.add_argument(
        "--looks", choices=("plain", "varied"), default="plain", help="varied: tints, light and camera of every episode"
    )
    command.add_argument("--seed", type=not_negative, default=0, help="decides varied looks (default 0)")
    command.add_argument("--image-size", type=positive, default=128, help="pixels (default 128)")
    command.add_argument("--fast-render", action="store_true", help="no multisampling: twice as fast")
    command.add_argument(
        "--source", type=Path, default=Path("data"), help="folder of demos/<suite> (default data)", metavar="DIR"
    )
    command.add_argument(
        "--out", type=Path, help="writes OUT/demos/NAME and OUT/tracks/NAME (default: the source)", metavar="DIR"
    )
    command.add_argument(
        "--workers", type=positive, default=len(os.sched_getaffinity(0)), help="processes (default: cores)"
    )
    return command


def main(argv: list[str]) -> None:
    options = parser().parse_args(argv)
    out = options.out or options.source
    (suite,) = parse_suites([options.suite])
    source_dataset = options.source_dataset or suite
    if options.dataset == source_dataset and out == options.source:
        raise UserError(f"--dataset {source_dataset} is the source itself; give the new data set another name")
    driver = gl_driver.probe()
    check_writable(out / "demos")
    found = assets.resolve(options.assets)
    print(f"assets: {found}")
    tasks = [benchmark.task(suite, index) for index in parse_tasks(options.tasks, suite)]
    tasks = [task for task in tasks if options.tasks or demo_path(options.source, source_dataset, task).exists()]
    if not tasks:
        raise UserError(
            f"no demonstrations in {options.source / 'demos' / source_dataset}; collect some with 'sim.collect'"
        )
    for finding in checks.shortcomings(driver, out / "demos", 0.0, options.workers):
        print(f"warning: {finding}", file=sys.stderr)
    rendering = Rendering(str(found.path), options.image_size, options.fast_render)
    settings = RerenderingSettings(
        options.source, out, options.dataset, rendering, options.looks == "varied", options.seed, source_dataset
    )
    count = rerender(settings, tasks, options.workers)
    print(f"{count} demonstration{'s' * (count != 1)} rendered into {out / 'demos' / options.dataset}")


if __name__ == "__main__":
    cli.run(main)
