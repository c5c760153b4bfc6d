"""Success and jumps at joins against latency, for each way of joining chunks of actions.

Every combination is an evaluation (``python -m sim.eval --latency MS --join HOW``) with its results in a folder of its
own, so a run that was stopped is continued by the same line. The table that is printed says of each how many episodes
succeeded and, in degrees a tick, the largest jump where one chunk took over from another.
"""

from pathlib import Path

from common.cli import CommandParser, positive, run
from common.errors import UserError
from policy.chunks import JOINERS
from sim import eval as evaluation
from sim.evaluation.results import Results

LATENCIES = (0, 100, 200, 300, 500)
"""Milliseconds."""


def cell(results: Results) -> str:
    """Successes among episodes, and the largest jump."""
    episodes = [episode for episode in results.episodes.values() if episode.error is None]
    jump = max(episode.jump_deg or 0.0 for episode in episodes)
    return f"{sum(episode.success for episode in episodes)} of {len(episodes)}, {jump:.2f}"


def main(argv: list[str]) -> None:
    """The command."""
    parser = CommandParser("benchmarks.latency", __doc__)
    parser.add_argument("--suite", default="libero_object", help="default libero_object")
    parser.add_argument("--tasks", default="0,1", metavar="LIST", help="task numbers (default 0,1)")
    parser.add_argument("--episodes", type=positive, default=10, metavar="N", help="episodes a task (default 10)")
    parser.add_argument("--joins", default=",".join(JOINERS), metavar="LIST", help=f"of {', '.join(JOINERS)}")
    parser.add_argument("--latencies", default=",".join(map(str, LATENCIES)), metavar="LIST", help="milliseconds")
    parser.add_argument("--replan", type=positive, default=4, metavar="K", help="ticks between requests (default 4)")
    parser.add_argument("--checkpoint", metavar="FILE", help="bundle; default: checkpoints/default.safetensors")
    parser.add_argument("--out", type=Path, default=Path("results/latency"), metavar="DIR", help="where results go")
    options = parser.parse_args(argv)
    joins, latencies = options.joins.split(","), options.latencies.split(",")
    if unknown := set(joins) - set(JOINERS):
        raise UserError(f"--joins has {', '.join(sorted(unknown))}; there are {', '.join(JOINERS)}")
    settings = ["--suite", options.suite, "--tasks", options.tasks, "--episodes", str(options.episodes)]
    settings += ["--replan", str(options.replan)]
    settings += ["--checkpoint", options.checkpoint] if options.checkpoint else []
    rows = []
    for latency in latencies:
        cells = []
        for join in joins:
            folder = options.out / f"{join}-{latency}"
            evaluation.main([*settings, "--join", join, "--latency", latency, "--out", str(folder)])
            cells.append(cell(Results.load(folder / "results.json")))
        rows.append(f"| {latency} ms | {' | '.join(cells)} |")
    print(f"| latency | {' | '.join(joins)} |\n|{'---|' * (len(joins) + 1)}")
    print("\n".join(rows))


if __name__ == "__main__":
    run(main)
