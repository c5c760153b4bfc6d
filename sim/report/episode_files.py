"""What a report shows of each episode beside numbers: film, poster and predicted motion, shared with the results.

All of it is written while the episodes are played, so a report has little to do; what is up to date stays.
"""

import os
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from rich.console import Console
from rich.progress import track

from sim.evaluation.results import EpisodeResult, Results
from sim.evaluation.worker import poster_path, video_path
from sim.pictures.poster import save_poster_of_film
from sim.pictures.predicted_tracks import tracks_path

Key = tuple[str, int, int]


def share_files(results: Sequence[Results], folder: Path) -> dict[tuple[int, Key], dict[str, str]]:
    """Bring the files of all episodes into ``folder``, with a progress bar in a terminal.

    Returns:
        for the number of each evaluation and the key of its episode: where in ``folder`` its ``video``, ``poster``
        and ``tracks`` are, as far as there are any.
    """
    for name in ("videos", "posters", "tracks"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    episodes = [(number, key) for number, result in enumerate(results) for key in sorted(result.episodes)]
    console = Console(stderr=True)
    threads = ThreadPoolExecutor()  # They copy, or decode old films, outside Python's lock.
    try:
        shared = threads.map(
            lambda episode: _share_episode(results[episode[0]], episode[1], folder, "ab"[episode[0]]), episodes
        )
        bar = track(shared, "report", len(episodes), console=console, transient=True, disable=not console.is_terminal)
        return dict(zip(episodes, bar, strict=True))
    finally:
        threads.shutdown(cancel_futures=True)


def _share_episode(result: Results, key: Key, folder: Path, run: str) -> dict[str, str]:
    episode: EpisodeResult = result.episodes[key]
    if episode.error:
        return {}
    film = video_path(result.path.parent / "videos", key, episode.success)
    poster = poster_path(result.path.parent / "posters", key)
    stem = f"{run}-{film.stem}"
    targets = {"video": f"videos/{stem}.mp4", "poster": f"posters/{stem}.jpg", "tracks": f"tracks/{stem}.js"}
    shared = {
        kind: targets[kind]
        for kind, source in (("video", film), ("poster", poster), ("tracks", tracks_path(film)))
        if _share(source, folder / targets[kind])
    }
    if "video" in shared and "poster" not in shared and _poster_of_film(film, folder / targets["poster"]):
        shared["poster"] = targets["poster"]
    return shared


def _share(source: Path, target: Path) -> bool:
    """The same file at another place, without taking its room twice where the disk allows it; false if it is none."""
    if not source.exists():
        return False
    if target.exists():
        ours, theirs = target.stat(), source.stat()
        if os.path.samestat(ours, theirs) or (ours.st_size, ours.st_mtime_ns) == (theirs.st_size, theirs.st_mtime_ns):
            return True
        target.unlink()
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
    return True


def _poster_of_film(film: Path, target: Path) -> bool:
    """For films from before episodes left posters."""
    if target.exists() and target.stat().st_mtime_ns >= film.stat().st_mtime_ns:
        return True
    return save_poster_of_film(film, target)
