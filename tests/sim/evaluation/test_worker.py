"""What a worker process films, and what it says when its environment breaks."""

import multiprocessing
import threading
from dataclasses import replace
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest

from sim.evaluation import worker
from sim.evaluation.chunk_execution import Execution
from sim.evaluation.worker import Failure, Job, Observation, Rules, play, video_path
from sim.libero.env import LiberoEnv

SHORT = Rules(max_steps=5, settle_steps=1, execution=Execution(replan=2), image_size=32)


def test_films_have_their_own_size_and_policies_theirs(libero_assets: Path, tmp_path: Path):
    env = LiberoEnv("libero_object", 0, assets=libero_assets, image_size=32)
    seen: list[tuple[int, ...]] = []

    def hold_still(observation: Observation) -> np.ndarray:
        seen.append(observation.images.shape)
        return np.zeros((4, 7))

    rules = replace(SHORT, video="all", video_size=96, video_folder=tmp_path)
    job = Job("libero_object", 0, 0, seed=0)
    large = play(env, job, rules, hold_still)
    frames = imageio_ffmpeg.read_frames(str(video_path(tmp_path, job.key, success=False)))
    assert next(frames)["size"] == (192, 96)
    frames.close()
    assert set(seen) == {(2, 32, 32, 3)}
    without = play(env, job, SHORT, hold_still)
    assert (large.steps, large.success) == (without.steps, without.success)
    env.close()


def test_an_exception_in_an_environment_is_reported_with_its_traceback(monkeypatch: pytest.MonkeyPatch):
    def broken(*_: object) -> None:
        raise ZeroDivisionError("the arm exploded")

    monkeypatch.setattr(worker, "_environment", broken)
    monkeypatch.setattr(worker.signal, "signal", lambda *_: None)
    ours, theirs = multiprocessing.Pipe()
    thread = threading.Thread(target=worker.work, args=(theirs, SHORT, None))
    thread.start()
    ours.send(Job("libero_10", 0, 0, seed=0))
    failure = ours.recv()
    thread.join(timeout=10)
    assert isinstance(failure, Failure)
    assert "ZeroDivisionError: the arm exploded" in failure.message
