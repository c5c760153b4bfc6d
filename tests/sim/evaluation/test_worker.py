"""What a worker process says when its environment breaks."""

import multiprocessing
import threading

import pytest

from sim.evaluation import worker
from sim.evaluation.worker import Failure, Job, Rules

SHORT = Rules(max_steps=5, settle_steps=1, replan=2, image_size=32)


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
