"""Success and jumps at joins against latency, for each way of joining chunks of actions.

Every episode is played as ``python -m sim.eval --latency MS --join HOW`` plays it, here one after the other in this
process. What is known is kept in FILE, so a run that was stopped is continued by the same line. The table says of each
combination how many episodes succeeded, and the largest jump, in degrees a tick, where a chunk took over from another;
--plot draws both.
"""

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from common.cli import CommandParser, positive, run
from common.errors import UserError
from common.files import replacing
from policy.chunks import JOINERS
from policy.interface import Plan, batched_plan, inpaints
from sim.evaluation.chunk_execution import Execution
from sim.evaluation.open_policy import open_policy
from sim.evaluation.results import EpisodeResult, wilson
from sim.evaluation.worker import Job, Observation, Rules, play
from sim.libero.selection import parse_tasks

LATENCIES = (0, 100, 200, 300, 500)
"""Milliseconds."""
Key = tuple[int, int, str, float]
"""Task, episode, join, latency."""


class Kept:
    """Episodes by their key, on the disk too."""

    def __init__(self, path: Path, settings: dict[str, object]):
        self._path, self._settings = path, settings
        self.episodes: dict[Key, EpisodeResult] = {}
        if path.exists():
            content = json.loads(path.read_text())
            if content["settings"] != settings:
                raise UserError(f"{path} was made with {content['settings']}, not {settings}; name another --out")
            for entry in content["episodes"]:
                self.episodes[tuple(entry["key"])] = EpisodeResult(**entry["result"])  # type: ignore[index]

    def add(self, key: Key, result: EpisodeResult) -> None:
        """One more."""
        self.episodes[key] = result
        rows = [{"key": key, "result": dataclasses.asdict(result)} for key, result in self.episodes.items()]
        with replacing(self._path) as temporary:
            temporary.write_text(json.dumps({"settings": self._settings, "episodes": rows}, indent=1) + "\n")

    def outcome(self, join: str, latency: float) -> tuple[int, int, float]:
        """Successes, episodes, and the largest jump in degrees a tick."""
        found = [result for (_, _, *how), result in self.episodes.items() if how == [join, latency]]
        jump = max((result.jump_deg or 0.0 for result in found), default=0.0)
        return sum(result.success for result in found), len(found), jump


def missing(kept: Kept, tasks: list[int], episodes: int, joins: list[str], latencies: list[float]) -> Iterator[Key]:
    """What is still to be played; every combination once before any twice, so that a table is there early."""
    for task in tasks:
        for episode in range(episodes):
            for latency in latencies:
                for join in joins:
                    if (task, episode, join, latency) not in kept.episodes:
                        yield task, episode, join, latency


def plot(kept: Kept, joins: list[str], latencies: list[float], path: Path) -> None:
    """Success (95 % intervals by Wilson) and the largest jump over latency, a line for each way of joining."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (of_success, of_jump) = pyplot.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
    for number, join in enumerate(joins):
        outcomes = [kept.outcome(join, latency) for latency in latencies]
        beside = [latency + 4 * (number - (len(joins) - 1) / 2) for latency in latencies]
        share = [100 * successes / episodes for successes, episodes, _ in outcomes]
        low, high = zip(*(wilson(successes, episodes) for successes, episodes, _ in outcomes), strict=True)
        reach = [
            [y - 100 * x for x, y in zip(low, share, strict=True)],
            [100 * x - y for x, y in zip(high, share, strict=True)],
        ]
        of_success.errorbar(beside, share, reach, marker="o", capsize=2, linewidth=1, label=join)
        of_jump.plot(latencies, [jump for *_, jump in outcomes], marker="o", linewidth=1, label=join)
    of_success.set(xlabel="latency, ms", ylabel="success, %", ylim=(0, 104))
    of_jump.set(xlabel="latency, ms", ylabel="largest jump at a join, degrees a tick")
    of_jump.set_ylim(bottom=0)
    of_success.legend()
    with replacing(path) as temporary:
        figure.savefig(temporary, format=path.suffix[1:] or "png", dpi=110)


def main(argv: list[str]) -> None:
    """The command."""
    parser = CommandParser("benchmarks.latency", __doc__)
    parser.add_argument("--suite", default="libero_object", help="default libero_object")
    parser.add_argument("--tasks", default="0,1", metavar="LIST", help="task numbers (default 0,1)")
    parser.add_argument("--episodes", type=positive, default=10, metavar="N", help="episodes a task (default 10)")
    parser.add_argument("--joins", default=",".join(JOINERS), metavar="LIST", help=f"of {', '.join(JOINERS)}")
    parser.add_argument("--latencies", default=",".join(map(str, LATENCIES)), metavar="LIST", help="milliseconds")
    parser.add_argument("--replan", type=positive, default=4, metavar="K", help="steps between requests (default 4)")
    parser.add_argument("--checkpoint", type=Path, metavar="FILE", help="default: checkpoints/default.safetensors")
    parser.add_argument("--out", type=Path, default=Path("results/latency.json"), metavar="FILE", help="what is known")
    parser.add_argument("--plot", type=Path, metavar="PNG", help="draw success and jumps over latency")
    options = parser.parse_args(argv)
    joins, latencies = options.joins.split(","), [float(text) for text in options.latencies.split(",")]
    if unknown := set(joins) - set(JOINERS):
        raise UserError(f"--joins has {', '.join(sorted(unknown))}; there are {', '.join(JOINERS)}")

    from sim.libero.env import LiberoEnv

    policy = open_policy("bundle", options.checkpoint, device="cpu", threads=1)
    about = policy.describe()
    settings = {"policy": f"{about['name']} {about['hash']}", "suite": options.suite, "replan": options.replan}
    kept = Kept(options.out, settings)
    fast = about.get("fast_render", False)
    env: LiberoEnv | None = None

    def ask(seen: Observation) -> np.ndarray:
        arguments = seen.images[None], seen.proprio[None], [seen.text]
        plan: Plan | None = batched_plan([seen.plan], policy.action_horizon)
        if plan is not None and inpaints(policy):
            return policy.act(*arguments, plan)[0]
        return policy.act(*arguments)[0]

    for task, episode, join, latency in missing(
        kept, parse_tasks(options.tasks, options.suite), options.episodes, joins, latencies
    ):
        if env is None or env.task.index != task:
            if env is not None:
                env.close()
            env = LiberoEnv(options.suite, task, image_size=max(policy.image_size), fast_render=fast)
        rules = Rules(execution=Execution(join, options.replan, latency), views=policy.views, fast_render=fast)
        result = play(env, Job(options.suite, task, episode, seed=episode), rules, ask)
        kept.add((task, episode, join, latency), result)
        print(f"task {task} episode {episode} {join} {latency:g} ms: {result}", flush=True)
    print(f"| latency | {' | '.join(joins)} |\n|{'---|' * (len(joins) + 1)}")
    for latency in latencies:
        cells = (
            f"{won} of {count}, {jump:.2f}" for won, count, jump in (kept.outcome(join, latency) for join in joins)
        )
        print(f"| {latency:g} ms | {' | '.join(cells)} |")
    if options.plot is not None:
        plot(kept, joins, latencies, options.plot)


if __name__ == "__main__":
    run(main)
