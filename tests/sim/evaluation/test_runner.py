"""Worker processes around one policy: broken ones are replaced, and every episode is played."""

import multiprocessing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common.errors import UserError
from policy.interface import Text
from sim.evaluation.chunk_execution import Execution
from sim.evaluation.results import EpisodeResult
from sim.evaluation.runner import ALIKE, Queue, run_episodes
from sim.evaluation.worker import Failure, Job, Rules


class HoldStill:
    """A policy that keeps the arm where it is; remembers how it was asked."""

    views = ("eye_in_hand", "agentview")
    image_size = (32, 32)
    action_horizon = 4

    def __init__(self) -> None:
        self.batches: list[tuple[tuple[int, ...], tuple[int, ...], tuple[str, ...]]] = []

    def act(self, images: np.ndarray, proprio: np.ndarray | None, text: Text) -> np.ndarray:
        assert proprio is not None
        self.batches.append((images.shape, proprio.shape, tuple(text)))
        return np.zeros((len(text), self.action_horizon, 7), np.float32)

    def predict_codes(self, images: np.ndarray, text: Text) -> tuple[np.ndarray, np.ndarray]:
        return np.zeros((len(text), 15), np.int64), np.zeros((len(text), 15, 1), np.float32)

    def predict_traj(self, images: np.ndarray, init_queries: np.ndarray, text: Text) -> np.ndarray:
        return np.repeat(init_queries, 16, axis=2)

    def describe(self) -> dict[str, Any]:
        return {"name": "hold still", "hash": "0"}


class KillsAWorkerOnce(HoldStill):
    """Kills the worker that asks first, as the kernel does when memory is short."""

    def act(self, images: np.ndarray, proprio: np.ndarray | None, text: Text) -> np.ndarray:
        if not self.batches:
            multiprocessing.active_children()[0].kill()
        return super().act(images, proprio, text)


def test_a_killed_worker_is_replaced_and_every_episode_is_played(
    libero_assets: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    policy = KillsAWorkerOnce()
    rules = Rules(
        max_steps=5, settle_steps=1, execution=Execution(replan=2), image_size=32, views=policy.views,
        video="all", video_folder=tmp_path,
        assets=str(libero_assets),
    )  # fmt: skip
    jobs = [Job("libero_object", 0, number, seed=number) for number in range(3)]
    episodes = sorted(run_episodes(jobs, rules, workers=2, policy=policy), key=lambda episode: episode.key)
    assert [(e.init_state, e.steps, e.success, e.error) for e in episodes] == [(n, 5, False, None) for n in range(3)]
    assert "broke, trying it once more: the worker process died" in caplog.text
    images, proprio, text = policy.batches[-1]
    assert images[1:] == (2, 32, 32, 3)
    assert proprio[1:] == (9,)
    assert text[0] == "pick up the alphabet soup and place it in the basket"
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [f"libero_object-task00-episode{number:03d}-failure.mp4" for number in range(3)]


def test_a_broken_episode_is_tried_twice_and_then_recorded_as_an_error():
    job = Job("libero_10", 0, 3, seed=3)
    queue = Queue([job])
    assert queue.next(None, []) == job
    assert queue.retry_or_give_up(job, Failure("first", user_error=False)) is None
    assert queue.next(None, []) == job
    episode = queue.retry_or_give_up(job, Failure("second", user_error=False))
    assert episode is not None
    assert (episode.error, episode.success, episode.init_state) == ("second", False, 3)
    assert queue.next(None, []) is None


def fail(queue: Queue, times: int, reason: str = "OSError: no") -> list[EpisodeResult | None]:
    """Play as many jobs as ``times``, each of which breaks for ``reason``; what the queue makes of each."""
    ended = []
    for number in range(times):
        job = queue.next(None, [])
        assert job is not None
        ended.append(queue.retry_or_give_up(job, Failure(f"Traceback of try {number}\n{reason}\n", user_error=False)))
    return ended


def test_first_tries_that_all_break_alike_end_the_run_with_their_reason():
    queue = Queue([Job("libero_10", 0, number, seed=0) for number in range(9)])
    fail(queue, ALIKE - 1)
    with pytest.raises(UserError, match=r"all broke alike: OSError: no; 'python -m sim.doctor'") as caught:
        fail(queue, 1)
    assert "\n" not in str(caught.value)
    assert "Traceback of try" in str(caught.value.__cause__)


def test_what_breaks_differently_or_after_an_episode_that_ended_is_the_episodes_own():
    queue = Queue([Job("libero_10", 0, number, seed=0) for number in range(9)])
    fail(queue, ALIKE - 1, "OSError: no")
    fail(queue, 1, "ValueError: no")
    fail(queue, ALIKE, "OSError: no")
    queue = Queue([Job("libero_10", 0, number, seed=0) for number in range(9)])
    queue.ended()
    ended = fail(queue, 2 * ALIKE)
    assert [episode.error for episode in ended if episode is not None] == ["Traceback of try 1\nOSError: no\n"] + [
        f"Traceback of try {number}\nOSError: no\n" for number in (3, 5)
    ]


def test_workers_keep_their_task_and_then_go_where_most_episodes_wait():
    jobs = [Job("libero_10", task, number, seed=0) for task, count in ((0, 2), (1, 4)) for number in range(count)]
    queue = Queue(jobs)
    zero, one = ("libero_10", 0), ("libero_10", 1)
    first = queue.next(None, [None, None])
    second = queue.next(None, [one, None])
    assert first is not None
    assert second is not None
    assert (first.task, second.task) == (1, 0)
    own = queue.next(zero, [one, zero])
    assert own is not None
    assert own.task == 0
    other = queue.next(zero, [one, zero])
    assert other is not None
    assert other.task == 1
