"""Asks the policy beside the control loop, which never waits for an answer."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Observation:
    """What the policy sees at one time: images (v, h, w, 3) uint8, q (n,) rad simulator order, fingers (2,) m.

    ``tick`` is the control period that a chunk's first action is meant for, ``at`` the monotonic time (s).
    """

    tick: int
    at: float
    images: np.ndarray
    q: np.ndarray
    fingers: np.ndarray


@dataclass(frozen=True)
class Answer:
    """A chunk (horizon, d) for an observation, or the error that came instead."""

    observation: Observation
    chunk: np.ndarray | None
    seconds: float
    error: str = ""


class Asker:
    """Asks for chunks in a thread of its own: at most one request is out, the newest observation is the one asked."""

    def __init__(self, ask: Callable[[Observation], np.ndarray]):
        self._ask = ask
        self._wanted: Observation | None = None
        self._answer: Answer | None = None
        self._change = threading.Condition()
        self._busy = self._closed = False
        self._thread = threading.Thread(target=self._work, name="asker", daemon=True)
        self._thread.start()

    def want(self, observation: Observation) -> bool:
        """Asks, unless a request is out; returns at once."""
        with self._change:
            if self._busy or self._wanted is not None:
                return False
            self._wanted = observation
            self._change.notify()
            return True

    def take(self) -> Answer | None:
        """The answer that has come since the last call."""
        with self._change:
            answer, self._answer = self._answer, None
        return answer

    def close(self) -> None:
        """Ends the thread after the request that is out."""
        with self._change:
            self._closed = True
            self._change.notify()
        self._thread.join(2)

    def _work(self) -> None:
        while True:
            with self._change:
                self._change.wait_for(lambda: self._wanted is not None or self._closed)
                if self._closed:
                    return
                observation, self._wanted, self._busy = self._wanted, None, True
            assert observation is not None
            started = time.monotonic()
            try:
                chunk, error = np.asarray(self._ask(observation)), ""
            except Exception as failure:  # whatever it is, the loop must go on to hold and stop
                chunk, error = None, f"{type(failure).__name__}: {failure}"
            with self._change:
                self._busy = False
                self._answer = Answer(observation, chunk, time.monotonic() - started, error)
