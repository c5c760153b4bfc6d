"""How long the report of a large evaluation takes: the episodes of a small, real one repeated, films included.

Examples:
  python -m sim.eval --suite libero_object --tasks 0,5 --episodes 3 --report --out results/small
  python -m benchmarks.report results/small                       500 episodes in results/small-500
"""

import argparse
import resource
import shutil
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

from sim.evaluation.results import Results
from sim.evaluation.worker import SHIPPED_STATES, poster_path, video_path
from sim.pictures.predicted_tracks import tracks_path


def repeat(source: Results, folder: Path, episodes: int) -> Results:
    """Those of ``source`` again and again, until there are ``episodes``, with copies of their files in ``folder``."""
    results = Results(folder / "results.json", source.settings, source.context)
    origins, played = [source.episodes[key] for key in sorted(source.episodes)], Counter[tuple[str, int]]()
    for name in ("videos", "posters"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for place in range(episodes):
        origin = origins[place % len(origins)]
        number = played[origin.suite, origin.task]
        played[origin.suite, origin.task] += 1
        episode = replace(origin, episode=number, init_state=number % SHIPPED_STATES, seed=number)
        film, copy = (
            video_path(home / "videos", of.key, of.success)
            for home, of in ((source.path.parent, origin), (folder, episode))
        )
        poster = poster_path(source.path.parent / "posters", origin.key)
        for old, new in (
            (film, copy),
            (tracks_path(film), tracks_path(copy)),
            (poster, poster_path(folder / "posters", episode.key)),
        ):
            if old.exists():
                shutil.copyfile(old, new)
        results.episodes[episode.key] = episode
    results.save()
    return results


def main() -> None:
    command = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    command.add_argument("results", type=Path, help="folder of a small evaluation, made with --report")
    command.add_argument("--episodes", type=int, default=500, metavar="N", help="episodes of the large one (500)")
    command.add_argument("--out", type=Path, metavar="DIR", help="its folder (default: RESULTS-N)")
    options = command.parse_args()
    folder = options.out or options.results.with_name(f"{options.results.name}-{options.episodes}")
    shutil.rmtree(folder, ignore_errors=True)
    repeat(Results.load(options.results / "results.json"), folder, options.episodes)
    print(f"{options.episodes} episodes: python -m sim.report {folder}")
    measure(folder, "after the last episode")
    measure(folder, "again")
    shutil.rmtree(folder / "report")
    shutil.rmtree(folder / "posters")
    measure(folder, "from films without posters")


def measure(folder: Path, case: str) -> None:
    """Print how long ``sim.report`` takes from its start to its end, and how much of it processors had to work."""
    begin, worked = time.perf_counter(), _processor_time()
    subprocess.run([sys.executable, "-m", "sim.report", folder], check=True, stdout=subprocess.DEVNULL)
    print(f"{case}: {time.perf_counter() - begin:.2f} s ({_processor_time() - worked:.2f} s of processors)")


def _processor_time() -> float:
    """Seconds that commands which have ended kept processors busy."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
