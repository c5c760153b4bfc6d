"""Evaluations with made-up ends, films of a few pixels and known predictions: what the tests of reports share."""

import base64
import gzip
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.report import repeat
from common.video import VideoWriter
from sim.evaluation.prediction_log import PredictionLog
from sim.evaluation.results import EpisodeResult, EvaluationSettings, Results
from sim.evaluation.worker import Job, Observation, poster_path, video_path
from sim.pictures.poster import save_poster
from tests.sim.examples import ShiftsRight

SETTINGS = EvaluationSettings(
    "shifts right 0123", 0, "open loop, 8 steps", False, None, 10, False, "abc", "3.3.2", "1.4.0"
)
COMMAND = "python -m sim.eval --suite libero_object --checkpoint 'my policy.safetensors' --seed 7 --report"
REPLAY = ["--checkpoint", "my policy.safetensors", "--seed", "7"]
STEPS, FRAMES = 40, 21
NOT_FILMED, BROKEN = 5, 3
"""Places among the episodes of ``make_results``."""


def make_results(folder: Path, name: str, succeeds: Callable[[int], bool], episodes: int = 20) -> Results:
    """An evaluation of two tasks with ``episodes`` episodes in all, filmed and with predictions but for one; one broke.

    The first, as of an older version, has left no poster.
    """
    policy = ShiftsRight()
    about = policy.describe() | {"name": name, "views": list(policy.views)}
    context = {"command": COMMAND, "replay": REPLAY, "policy": about, "versions": {"mujoco": "3.3.2"}}
    results = Results(folder / "results.json", SETTINGS, context)
    log = PredictionLog(policy, folder / "videos")
    for number in range(episodes):
        task, episode = number % 2, number // 2
        key = ("libero_object", task, episode)
        error = "Traceback: the arm <b>exploded</b>" if number == BROKEN else None
        ended = EpisodeResult(
            *key[:2], "pick_up_the_milk_and_place_it_in_the_basket", episode, episode, 7 + episode,
            not error and succeeds(number), 0 if error else STEPS, 1.5, error,
        )  # fmt: skip
        if not error and number > 0:
            save_poster(np.full((64, 128, 3), 99, np.uint8), poster_path(folder / "posters", key))
        if not error and number != NOT_FILMED:
            film(video_path(folder / "videos", key, ended.success))
            for step in range(0, STEPS, 8):
                seen = Observation(np.zeros((2, 32, 32, 3), np.uint8), np.zeros(9), "x", step)
                log.record([(Job(*key, seed=0), seen)])
        log.save(ended)
        results.episodes[ended.key] = ended
    results.save()
    return results


def film(path: Path) -> None:
    """A film that gets lighter."""
    writer = VideoWriter(path, 10)
    for frame in range(FRAMES):
        writer.add(np.full((64, 128, 3), 5 * frame, np.uint8))
    writer.keep(path)


def make_many(folder: Path, source: Results) -> Results:
    """80 episodes: 60 of a suite's two tasks, filmed, and 20 of another suite's, of which there are only numbers."""
    results = repeat(source, folder, 60)
    results.context |= {"notes": ["played in the procedural pack: <not> comparable"], "assets": {"source": "the pack"}}
    for number in range(20):
        episode = EpisodeResult("libero_goal", 3, "open_the_drawer", number, number, number, number < 5, 30, 1.0)
        results.episodes[episode.key] = episode
    results.save()
    return results


def data_of(page: Path) -> dict[str, Any]:
    """What a page hands to its scripts."""
    match = re.search(r'<script type="application/json" id="data">(.*?)</script>', page.read_text(), re.DOTALL)
    assert match is not None
    return json.loads(match[1])


def predictions_in(path: Path) -> tuple[dict[str, Any], np.ndarray]:
    """What a file of predicted motion tells the page, and its numbers unpacked."""
    match = re.fullmatch(r"predicted\(document\.currentScript, (.*)\);\n", path.read_text())
    assert match is not None
    packed = json.loads(match[1])
    return packed, np.frombuffer(gzip.decompress(base64.b64decode(packed["data"])), "<i2")
