"""Evaluate a policy on LIBERO: many episodes in parallel, a live table, and a ``results.json`` to keep.

Examples:
  python -m sim.eval                                     the default bundle on LIBERO-10, 50 episodes a task
  python -m sim.eval --tasks 0,5 --episodes 4            a first look, in a minute or two
  python -m sim.eval --suite libero_object,libero_goal   two suites, one table
  python -m sim.eval --suite all --out results/full      stop it with Ctrl-C, repeat the line to continue
  python -m sim.eval --policy expert --episodes 2        the scripted expert instead of a policy
  python -m sim.eval --checkpoint my.safetensors --video failures

Protocol: episode k starts from the suite's shipped initial state k % 50; 10 settle steps; step limits spatial 220,
object 280, goal 300, libero_10 520, libero_90 400; success when the task's goal predicate holds at a step.
Exit status: 0 all episodes ran, 1 some broke twice (they are left out of the rates), 2 bad input, 130 interrupted.
"""

import argparse
import logging
import os
import shlex
import signal
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.logging import RichHandler

from common import cli
from common.errors import UserError
from policy import DEFAULT_BUNDLE
from sim.evaluation.live_table import LiveTable
from sim.evaluation.results import Results, Settings, versions
from sim.evaluation.runner import run_episodes
from sim.evaluation.worker import Job, Rules
from sim.libero import assets
from sim.libero.selection import parse_suites, parse_tasks

if TYPE_CHECKING:
    from policy import Policy

LIBERO_IMAGE_SIZE = 128
WIDTH_OF_LOGS = 110
SERVED = ("tcp://", "ipc://")
"""How the address of a policy server begins."""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    command = cli.CommandParser("sim.eval", __doc__)
    what = command.add_argument_group("what to evaluate")
    what.add_argument(
        "--policy",
        default="bundle",
        help="'bundle' (default), 'expert' (the scripted one), or a policy server: tcp://HOST:PORT",
    )
    what.add_argument(
        "--checkpoint", type=Path, metavar="FILE", help="bundle; default: checkpoints/default.safetensors"
    )
    what.add_argument(
        "--suite", action="append", metavar="NAME", help="a suite, several (a,b) or 'all'; default: libero_10"
    )
    what.add_argument("--tasks", metavar="LIST", help="task numbers, e.g. 0,5 or 0-4; default: all")
    what.add_argument("--episodes", type=_positive, default=50, metavar="N", help="episodes a task (default 50)")
    what.add_argument("--first", type=_not_negative, default=0, metavar="K", help="number of the first (default 0)")
    how = command.add_argument_group("how")
    execution = how.add_mutually_exclusive_group()
    execution.add_argument(
        "--replan", type=_positive, default=8, metavar="K", help="actions executed of each chunk (default 8)"
    )
    execution.add_argument(
        "--ensemble", action="store_true", help="temporal ensembling instead: a chunk every step (slow)"
    )
    how.add_argument(
        "--blank-codes",
        action="store_true",
        help="hide the motion codes from the inverse model, to see whether it uses them",
    )
    how.add_argument("--max-steps", type=_positive, metavar="N", help="step limit; default: the suite's own")
    how.add_argument(
        "--settle-steps",
        type=_not_negative,
        default=10,
        metavar="N",
        help="steps before the first counted one (default 10)",
    )
    how.add_argument(
        "--seed",
        type=_not_negative,
        default=0,
        metavar="N",
        help="seed of episode 0; episode k has seed + k (default 0)",
    )
    how.add_argument("--assets", type=Path, metavar="DIR", help="LIBERO's assets; default: see docs/assets.md")
    how.add_argument(
        "--fast-render",
        action=argparse.BooleanOptionalAction,
        help="faster, slightly different images; must be as in training (default: what the bundle says)",
    )
    machine = command.add_argument_group("machine and output")
    machine.add_argument("--workers", type=_positive, metavar="N", help="simulation processes (default: one a core)")
    machine.add_argument(
        "--device", metavar="NAME", help="device of the policy (default: cuda if there is one, else cpu)"
    )
    machine.add_argument(
        "--threads",
        type=_positive,
        metavar="N",
        help="threads of the policy (default: all cores but one)",
    )
    machine.add_argument("--out", type=Path, metavar="DIR", help="folder of results.json; an existing one is continued")
    machine.add_argument(
        "--video", choices=("none", "failures", "all"), help="episodes to film as mp4 (default none; all for --report)"
    )
    machine.add_argument(
        "--report",
        action="store_true",
        help="write OUT/report/index.html at the end; films all episodes, with predicted motion, unless --video",
    )
    machine.add_argument("--debug", action="store_true", help="show tracebacks")
    return command


def main(argv: list[str]) -> int:
    """Evaluate as the command line says; the exit status."""
    options = parser().parse_args(argv)
    if options.policy not in ("bundle", "expert") and not options.policy.startswith(SERVED):
        raise UserError(
            f"unknown --policy {options.policy!r}; use 'bundle' (with --checkpoint FILE), 'expert', or the address of "
            "a policy server such as tcp://127.0.0.1:5555"
        )
    suites = parse_suites(options.suite or ["libero_10"])
    numbers = range(options.first, options.first + options.episodes)
    asked = {(s, t, e) for s in suites for t in parse_tasks(options.tasks, s) for e in numbers}
    console = Console() if sys.stdout.isatty() else Console(width=WIDTH_OF_LOGS)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[RichHandler(console=console)])
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # Both end in KeyboardInterrupt and keep the results.

    found = assets.resolve(options.assets)
    policy = None if options.policy == "expert" else load(options)
    about = {} if policy is None else policy.describe()
    identity = f"{about['name']} {about['hash']}" if policy else "expert"
    fast_render = about.get("fast_render", False) if options.fast_render is None else options.fast_render
    out = options.out or Path("results") / f"{time.strftime('%Y%m%d-%H%M%S')}-{'+'.join(suites)}"
    made_with = versions()
    settings = Settings(
        policy=identity,
        suites=tuple(suites),
        seed=options.seed,
        execution=execution_name(options),
        blank_codes=options.blank_codes,
        max_steps=options.max_steps,
        settle_steps=options.settle_steps,
        fast_render=fast_render,
        assets=found.digest,
        mujoco=made_with["mujoco"],
        robosuite=made_with["robosuite"],
    )
    context = {
        "command": shlex.join(["python", "-m", "sim.eval", *argv]),
        "policy": about,
        "assets": {"source": found.source, "digest": found.digest},
        "versions": made_with,
    }
    results = Results.open(out / "results.json", settings, context)
    rules = Rules(
        expert=policy is None,
        replan=None if options.ensemble else options.replan,
        max_steps=options.max_steps,
        settle_steps=options.settle_steps,
        video=options.video or ("all" if options.report else "none"),
        video_folder=out / "videos",
        views=None if policy is None else policy.views,
        image_size=LIBERO_IMAGE_SIZE if policy is None else max(policy.image_size),
        fast_render=fast_render,
        assets=str(found.path),
    )
    jobs = [Job(s, t, e, seed=options.seed + e) for s, t, e in sorted(asked - results.episodes.keys())]
    planned = Counter((s, t) for s, t, _ in sorted(asked | results.episodes.keys()))
    workers = min(options.workers or len(os.sched_getaffinity(0)), max(1, len(jobs)))
    console.print(
        f"{identity}: {len(jobs)} episodes on {workers} workers; assets {found}", highlight=False, soft_wrap=True
    )
    predictions, watch = None, None
    if options.report and policy is not None:
        from sim.evaluation.prediction_log import PredictionLog

        predictions = PredictionLog(policy, rules.video_folder)
        watch = predictions.asked
    try:
        with LiveTable(results, planned, console) as table:
            for episode in run_episodes(jobs, rules, workers, policy, watch):
                if predictions is not None:
                    predictions.ended(episode)
                results.add(episode)
                table.update(episode)
    finally:
        if results.path.exists():
            console.print(f"results: {results.path}", highlight=False, soft_wrap=True)
            if options.report and results.episodes:
                from sim.report.evaluation_page import write_evaluation

                page = write_evaluation([results], out / "report")
                console.print(f"report: {page}", highlight=False, soft_wrap=True)
    return 1 if any(episode.error for episode in results.episodes.values()) else 0


def load(options: argparse.Namespace) -> "Policy":
    """Open the policy that the command line names, a bundle or a server's.

    Raises:
        UserError: there is none, it is not one of ours, it wants other views than LIBERO has, or its chunks are
            shorter than ``--replan``.
    """
    from sim.libero.env import VIEWS

    policy = _served(options) if options.policy.startswith(SERVED) else _bundle(options)
    if not set(policy.views) <= set(VIEWS):
        raise UserError(f"the policy needs the views {', '.join(policy.views)}; LIBERO has {', '.join(VIEWS)}")
    if options.replan > policy.action_horizon:
        raise UserError(f"--replan {options.replan} is more than the {policy.action_horizon} actions of a chunk")
    return policy


def _served(options: argparse.Namespace) -> "Policy":
    """The policy behind an address. What a bundle can be told has to be told to the server."""
    from policy.remote import RemotePolicy

    if options.checkpoint or options.blank_codes or options.device or options.threads:
        raise UserError("--checkpoint, --blank-codes, --device and --threads have to be told to the server")
    return RemotePolicy(options.policy)


def _bundle(options: argparse.Namespace) -> "Policy":
    path = options.checkpoint or DEFAULT_BUNDLE
    if not path.is_file():
        raise UserError(
            f"no bundle at {path}; name one with --checkpoint FILE (training ends with 'python -m policy.bundle'), "
            "or use --policy expert"
        )
    import torch

    from policy import load_policy

    device = options.device or ("cuda" if torch.cuda.is_available() else "cpu")
    policy = load_policy(path, device=device, threads=options.threads)
    policy.blank_codes = options.blank_codes
    return policy


def execution_name(options: argparse.Namespace) -> str:
    """How the policy's chunks are executed, for the results."""
    if options.policy == "expert":
        return "expert, every step"
    return "temporal ensembling" if options.ensemble else f"open loop, {options.replan} steps"


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def _not_negative(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0")
    return int(text)


if __name__ == "__main__":
    cli.run(main)
