"""Evaluate a policy on LIBERO: many episodes in parallel, a live table, and a ``results.json`` to keep.

Examples:
  python -m sim.eval                                     the default bundle on LIBERO-10, 50 episodes a task
  python -m sim.eval --tasks 0,5 --episodes 4            a first look, in a minute or two
  python -m sim.eval --suite libero_object,libero_goal   two suites, one table
  python -m sim.eval --suite standard --out results/full the field's four suites; Ctrl-C stops, the same line continues
  python -m sim.eval --policy expert --episodes 2        the scripted expert instead of a policy
  python -m sim.eval --checkpoint my.safetensors --video failures
  python -m sim.eval --latency 200 --join realtime       chunks that come 200 ms late, as on a robot

Protocol: episode k starts from the suite's shipped initial state k % 50; 10 settle steps; step limits spatial 220,
object 280, goal 300, libero_10 520, libero_90 400; success when the task's goal predicate holds at a step.
Exit status: 0 all episodes ran, 1 some broke twice (they are left out of the rates), 2 bad input or a machine that
cannot simulate ('python -m sim.doctor' says why), 130 interrupted.
"""

import argparse
import logging
import os
import shlex
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.logging import RichHandler

from common import cli
from common.cli import not_negative, positive
from common.errors import UserError
from common.files import check_writable
from policy.chunks import JOINERS
from policy.runtimes.options import add_runtime_options, runtime_options
from sim.evaluation import provenance
from sim.evaluation.chunk_execution import Execution
from sim.evaluation.instruction_switch import InstructionSwitch
from sim.evaluation.live_table import LiveTable
from sim.evaluation.open_policy import ADDRESSES, open_policy
from sim.evaluation.results import EvaluationSettings, Results
from sim.evaluation.runner import run_episodes
from sim.evaluation.worker import Job, Rules
from sim.libero import assets
from sim.libero.selection import parse_suites, parse_tasks
from sim.machine import checks, description, gl_driver
from sim.report.csv_export import write_csv
from sim.suites import SUITES

if TYPE_CHECKING:
    from policy import Policy

log = logging.getLogger(__name__)

OF_POLICIES = (
    *("checkpoint", "replan", "ensemble", "join", "latency", "blank_codes", "switch_instruction"),
    *("ar_sampling", "temperature"),
    *("device", "threads", "runtime", "precision", "compile"),
)
"""Options that mean nothing to the expert."""
DECIDING = (
    *(
        "policy",
        "checkpoint",
        "runtime",
        "precision",
        "replan",
        "ensemble",
        "join",
        "latency",
        "blank_codes",
        "switch_instruction",
        "ar_sampling",
        "temperature",
    ),
    *("max_steps", "settle_steps", "seed"),
)
"""Options that decide how an episode is played."""
LIBERO_IMAGE_SIZE = 128
MOST_LATENCY = 10_000.0
"""Of what comes later nothing of a chunk is left."""
FILM_SIZE = 0.0005
"""A film of an episode takes up to this at 128 pixels, predicted motion and a copy in the report included (GB)."""
WIDTH_OF_LOGS = 110


class ShowVersion(argparse.Action):
    """``--version``: what is installed, and from which commit."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        print(description.in_words())
        parser.exit()


def parser() -> argparse.ArgumentParser:
    """The command line."""
    command = cli.CommandParser("sim.eval", __doc__)
    what = command.add_argument_group("what to evaluate")
    what.add_argument(
        "--policy",
        default="bundle",
        help="'bundle' (default), 'expert' (the scripted one), or a policy server: tcp://, groot:// or openpi://HOST:PORT",
    )
    what.add_argument(
        "--checkpoint",
        type=Path,
        metavar="FILE",
        help="bundle or export; default: checkpoints/default.safetensors",
    )
    what.add_argument(
        "--suite",
        action="append",
        metavar="NAME",
        help="a suite, several (a,b), 'standard' (four) or 'all'; default: libero_10",
    )
    what.add_argument("--tasks", metavar="LIST", help="task numbers, e.g. 0,5 or 0-4; default: all")
    what.add_argument("--episodes", type=positive, default=50, metavar="N", help="episodes a task (default 50)")
    what.add_argument("--first", type=not_negative, default=0, metavar="K", help="number of the first (default 0)")
    how = command.add_argument_group("how")
    execution = how.add_mutually_exclusive_group()
    execution.add_argument(
        "--replan",
        type=positive,
        default=8,
        metavar="K",
        help="steps after which the next chunk is asked for (default 8)",
    )
    execution.add_argument(
        "--ensemble", action="store_true", help="as published: a chunk every step, --join ensemble (slow)"
    )
    how.add_argument(
        "--join",
        choices=tuple(JOINERS),
        default="switch",
        help="how a chunk takes over from the one before: at once (default), blended within 4 steps, by the mean of "
        "all predictions, or by real-time chunking; as robot_bridge.run does",
    )
    how.add_argument(
        "--latency",
        type=_milliseconds,
        default=0.0,
        metavar="MS",
        help="simulated inference: a chunk is used only MS later, in whole steps of 50 ms; till then the one "
        "before goes on",
    )
    how.add_argument(
        "--blank-codes",
        action="store_true",
        help="hide the motion codes from the inverse model, to see whether it uses them",
    )
    how.add_argument(
        "--switch-instruction",
        type=InstructionSwitch.parse,
        metavar="STEP:TASK",
        help="tell the policy TASK's instruction from step STEP on, once the hand is free; success is then TASK's. For "
        "tasks that share a scene, such as all of libero_goal; TASK itself is left out",
    )
    how.add_argument(
        "--ar-sampling",
        choices=("argmax", "topk", "topp"),
        default="argmax",
        help="how codes are chosen: the likeliest, or drawn among the 10 likeliest, or the likeliest that have .9",
    )
    how.add_argument("--temperature", type=float, default=1.0, metavar="T", help="of drawing codes (default 1)")
    how.add_argument("--max-steps", type=positive, metavar="N", help="step limit; default: the suite's own")
    how.add_argument(
        "--settle-steps",
        type=not_negative,
        default=10,
        metavar="N",
        help="steps before the first counted one (default 10)",
    )
    how.add_argument(
        "--seed",
        type=not_negative,
        default=0,
        metavar="N",
        help="seed of episode 0; episode k has seed + k (default 0)",
    )
    how.add_argument(
        "--assets", type=Path, metavar="DIR", help="LIBERO's assets, or 'pack'; default: see docs/assets.md"
    )
    how.add_argument(
        "--fast-render",
        action=argparse.BooleanOptionalAction,
        help="faster, slightly different images; must be as in training (default: what the bundle says)",
    )
    machine = command.add_argument_group("machine and output")
    machine.add_argument("--workers", type=positive, metavar="N", help="simulation processes (default: one a core)")
    machine.add_argument(
        "--device", metavar="NAME", help="device of the policy (default: cuda if there is one, else cpu)"
    )
    machine.add_argument(
        "--threads",
        type=positive,
        metavar="N",
        help="threads of the policy (default: all cores but one)",
    )
    add_runtime_options(machine)
    machine.add_argument("--out", type=Path, metavar="DIR", help="folder of results.json; an existing one is continued")
    machine.add_argument(
        "--video", choices=("none", "failures", "all"), help="episodes to film as mp4 (default none; all for --report)"
    )
    machine.add_argument(
        "--video-size", type=_even, metavar="PIXELS", help="side of a view in films (default: as the policy sees it)"
    )
    machine.add_argument(
        "--report",
        action="store_true",
        help="write OUT/report/index.html at the end; films all episodes, with predicted motion, unless --video",
    )
    machine.add_argument("--csv", type=Path, metavar="FILE", help="also write the episodes as a table, a row each")
    machine.add_argument("--version", action=ShowVersion, nargs=0, default=argparse.SUPPRESS, help="show it and exit")
    machine.add_argument("--debug", action="store_true", help="show tracebacks")
    return command


def _milliseconds(text: str) -> float:
    """The type of a latency."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= MOST_LATENCY:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of milliseconds from 0 to {MOST_LATENCY:g}")
    return value


def _even(text: str) -> int:
    """The type of a film's size: the encoder takes even numbers of pixels only."""
    if positive(text) % 2:
        raise argparse.ArgumentTypeError(f"{text!r} is not an even number")
    return int(text)


def main(argv: list[str]) -> int:
    """Evaluate as the command line says; the exit status."""
    options = parser().parse_args(argv)
    _check(options)
    suites = parse_suites(options.suite or ["libero_10"])
    selected = _selected(options, suites)
    console = Console() if sys.stdout.isatty() else Console(width=WIDTH_OF_LOGS)
    handler = RichHandler(console=console, show_time=False, show_path=False)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[handler])

    driver = gl_driver.probe()
    found = assets.resolve(options.assets)
    policy = _policy(options)
    about = {} if policy is None else policy.describe()
    settings = _settings(options, about, found)
    out = options.out or Path("results") / f"{time.strftime('%Y%m%d-%H%M%S')}-{'+'.join(suites)}"
    context = {
        "date": provenance.now(),
        "commit": description.commit(),
        "command": shlex.join(["python", "-m", "sim.eval", *argv]),
        "replay": replay_options(options),
        "policy": about,
        "assets": {"source": found.source, "digest": found.digest, "procedural": found.procedural},
        "notes": provenance.notes(found, about),
        "machine": provenance.machine(driver, policy),
        "versions": description.versions(),
    }
    results = Results.open(out / "results.json", settings, context)
    _begin(results, options)
    rules = _rules(options, policy, settings, found, out)
    jobs = [Job(s, t, e, seed=options.seed + e) for s, t, e in _in_order(selected - results.episodes.keys())]
    planned = Counter((s, t) for s, t, _ in _in_order(selected | results.episodes.keys()))
    workers = min(options.workers or len(os.sched_getaffinity(0)), max(1, len(jobs)))
    console.print(
        f"{settings.policy}: {len(jobs)} episodes on {workers} workers; assets {found}", highlight=False, soft_wrap=True
    )
    films = 0 if rules.video == "none" else len(jobs) * ((rules.video_size or rules.image_size) / 128) ** 2
    findings = checks.shortcomings(driver, out, films * FILM_SIZE, workers)
    if options.policy == "bundle" and options.runtime != "onnx" and (device := checks.device(options.device)).mend:
        findings.append(device)
    for warning in [*results.notes, *map(str, findings)]:
        log.warning(warning)
    predictions, on_batch = None, None
    if options.report and policy is not None:
        from sim.evaluation.prediction_log import PredictionLog

        predictions = PredictionLog(policy, rules.video_folder)
        on_batch = predictions.record
    try:
        with LiveTable(results, planned, console) as table:
            for episode in run_episodes(jobs, rules, workers, policy, on_batch):
                results.add(episode)
                table.update(episode)
                if predictions is not None:
                    predictions.save(episode)
    except KeyboardInterrupt:
        if options.report and results.episodes:
            later = shlex.join(["python", "-m", "sim.report", str(out)])
            console.print(f"no report yet; of what is there: {later}", highlight=False, soft_wrap=True)
        raise
    finally:
        console.print(f"results: {results.path}", highlight=False, soft_wrap=True)
    if options.csv is not None:
        write_csv(results, options.csv)
    if options.report and results.episodes:
        from sim.report.evaluation_page import write_evaluation

        page = write_evaluation([results], out / "report")
        console.print(f"report: {page}", highlight=False, soft_wrap=True)
    return 1 if any(episode.error for episode in results.episodes.values()) else 0


def _selected(options: argparse.Namespace, suites: Sequence[str]) -> set[tuple[str, int, int]]:
    """The episodes that the command line asks for, by suite, task and number."""
    numbers = range(options.first, options.first + options.episodes)
    tasks = {suite: list(parse_tasks(options.tasks, suite)) for suite in suites}
    if (switch := options.switch_instruction) is not None:
        tasks = {suite: [task for task in chosen if task != switch.task] for suite, chosen in tasks.items()}
        for suite, chosen in tasks.items():
            switch.check(suite, chosen)
    return {(suite, task, number) for suite, chosen in tasks.items() for task in chosen for number in numbers}


def _in_order(episodes: Iterable[tuple[str, int, int]]) -> list[tuple[str, int, int]]:
    """Suite, task and number, the suites in the benchmark's order."""
    return sorted(episodes, key=lambda key: (SUITES.index(key[0]), *key[1:]))


def _check(options: argparse.Namespace) -> None:
    """Refuse a policy that there is not, and options that nobody would read."""
    if options.policy not in ("bundle", "expert") and not options.policy.startswith(ADDRESSES):
        raise UserError(
            f"unknown --policy {options.policy!r}; use 'bundle' (with --checkpoint FILE), 'expert', or the address of "
            "a policy server such as tcp://127.0.0.1:5555"
        )
    if options.ensemble and options.join != "switch":
        raise UserError(f"--ensemble and --join {options.join} both say how chunks are joined; leave one out")
    if options.policy == "expert" and (given := _given(options, OF_POLICIES)):
        raise UserError(f"the expert has neither weights nor chunks of actions: leave out {' '.join(given)}")


def _policy(options: argparse.Namespace) -> "Policy | None":
    """The policy that the command line names; none for the expert."""
    if options.policy == "expert":
        return None
    policy = open_policy(
        options.policy,
        options.checkpoint,
        device=options.device,
        threads=options.threads,
        blank_codes=options.blank_codes,
        ar_sampling=options.ar_sampling,
        temperature=options.temperature,
        seed=options.seed,
        **runtime_options(options),
    )
    horizon = policy.action_horizon
    if options.replan > horizon:
        raise UserError(f"--replan {options.replan} is more than the {horizon} actions of a chunk")
    if (delay := _execution(options).delay) >= horizon:
        raise UserError(
            f"--latency {options.latency:g} is {delay} steps, and a chunk has {horizon} actions: none would be left"
        )
    return policy


def _execution(options: argparse.Namespace) -> Execution:
    """How chunks are executed."""
    if options.ensemble:
        return Execution("ensemble", 1, options.latency)
    return Execution(options.join, options.replan, options.latency)


def _settings(options: argparse.Namespace, about: dict[str, Any], found: assets.Assets) -> EvaluationSettings:
    """What decides the scores of this run. ``about``: how the policy describes itself; nothing for the expert."""
    installed = description.versions()
    return EvaluationSettings(
        policy=f"{about['name']} {about['hash']}" if about else "expert",
        seed=options.seed,
        execution=str(_execution(options)) if about else "expert, every step",
        latency_ms=options.latency,
        blank_codes=options.blank_codes,
        switch_instruction=None if options.switch_instruction is None else str(options.switch_instruction),
        ar_sampling=options.ar_sampling,
        temperature=options.temperature,
        max_steps=options.max_steps,
        settle_steps=options.settle_steps,
        fast_render=about.get("fast_render", False) if options.fast_render is None else options.fast_render,
        assets=found.digest,
        mujoco=installed["mujoco"],
        robosuite=installed["robosuite"],
    )


def _begin(results: Results, options: argparse.Namespace) -> None:
    """Write the results before anything is played: what cannot be written should be known now."""
    try:
        results.save()
        if options.csv is not None:
            check_writable(options.csv.absolute().parent)
    except OSError as error:
        raise UserError(
            f"cannot write {error.filename} ({error.strerror}); make room, or name another --out or --csv"
        ) from error


def _rules(
    options: argparse.Namespace,
    policy: "Policy | None",
    settings: EvaluationSettings,
    found: assets.Assets,
    out: Path,
) -> Rules:
    """How every episode is played."""
    return Rules(
        expert=policy is None,
        execution=_execution(options),
        max_steps=options.max_steps,
        settle_steps=options.settle_steps,
        switch=options.switch_instruction,
        video=options.video or ("all" if options.report else "none"),
        video_folder=out / "videos",
        poster_folder=out / "posters",
        video_size=options.video_size,
        views=None if policy is None else policy.views,
        image_size=LIBERO_IMAGE_SIZE if policy is None else max(policy.image_size),
        fast_render=settings.fast_render,
        assets=str(found.path),
    )


def replay_options(options: argparse.Namespace) -> list[str]:
    """The options that decide how an episode is played, where they differ from the defaults: for the results.

    ``sim.report`` puts suite, task and number of an episode behind them, and has the command that plays it again.
    """
    words = _given(options, DECIDING)
    if options.fast_render is not None:
        words.append("--fast-render" if options.fast_render else "--no-fast-render")
    if options.assets is not None:
        words += ["--assets", str(options.assets)]
    return words


def _given(options: argparse.Namespace, names: Sequence[str]) -> list[str]:
    """Those of the options that differ from the defaults, as words of a command line."""
    defaults = parser().parse_args([])
    words: list[str] = []
    for name in names:
        value = getattr(options, name)
        if value != getattr(defaults, name):
            words += [f"--{name.replace('_', '-')}"] + ([] if value is True else [str(value)])
    return words


if __name__ == "__main__":
    cli.run(main)
