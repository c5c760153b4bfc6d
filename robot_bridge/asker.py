"""Asks the policy beside the control loop, which never waits for an answer.

Over a slow or lossy network one request at a time is not enough: the next chunk would come a whole round trip after the
last, and one lost answer would hold the arm. So several may be under way, each with the newest observation of its time.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

PACE = 1.5
"""A server is asked again no sooner than this many times what it took last: two requests must not queue up there."""


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
class Reply:
    """A chunk (horizon, d), and how many seconds the server itself needed for it, waiting included."""

    chunk: np.ndarray
    server: float = 0.0


@dataclass(frozen=True)
class Answer:
    """A chunk (horizon, d) for an observation, or the error that came instead, after ``seconds``."""

    observation: Observation
    chunk: np.ndarray | None
    seconds: float
    error: str = ""
    server: float = 0.0


Ask = Callable[[Observation], np.ndarray | Reply]


class Asker:
    """Asks for chunks in threads of its own, one for each of ``asks``; so many requests may be under way."""

    def __init__(self, *asks: Ask):
        self._change = threading.Condition()
        self._wanted: Observation | None = None
        self._answers: list[Answer] = []
        self._free = len(asks)
        self._count = len(asks)
        self._asked_at, self._server = -np.inf, 0.0
        self._closed = False
        self._threads = [
            threading.Thread(target=self._work, args=(ask,), name=f"asker-{number}", daemon=True)
            for number, ask in enumerate(asks)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def idle(self) -> bool:
        """Whether no request is under way."""
        with self._change:
            return self._free == self._count and self._wanted is None

    def want(self, observation: Observation) -> bool:
        """Asks, unless as many requests are under way as may be, or the server is slow; returns at once."""
        now = time.monotonic()
        with self._change:
            if self._wanted is not None or not self._free:
                return False
            if self._free < self._count and now - self._asked_at < PACE * self._server:
                return False
            self._wanted, self._asked_at = observation, now
            self._change.notify()
            return True

    def take(self) -> list[Answer]:
        """The answers that have come since the last call, in the order of their coming."""
        with self._change:
            answers, self._answers = self._answers, []
        return answers

    def close(self) -> None:
        """Ends the threads after the requests that are under way."""
        with self._change:
            self._closed = True
            self._change.notify_all()
        for thread in self._threads:
            thread.join(2)

    def _work(self, ask: Ask) -> None:
        while True:
            with self._change:
                self._change.wait_for(lambda: self._wanted is not None or self._closed)
                if self._closed:
                    return
                observation, self._wanted = self._wanted, None
                self._free -= 1
            assert observation is not None
            answer = _answer(ask, observation)
            with self._change:
                self._free += 1
                if answer.chunk is not None:
                    self._server = answer.server
                self._answers.append(answer)


def _answer(ask: Ask, observation: Observation) -> Answer:
    started = time.monotonic()
    try:
        reply = ask(observation)
    except Exception as failure:  # whatever it is, the loop must go on to hold and stop
        return Answer(observation, None, time.monotonic() - started, f"{type(failure).__name__}: {failure}")
    if not isinstance(reply, Reply):
        reply = Reply(np.asarray(reply))
    return Answer(observation, reply.chunk, time.monotonic() - started, server=reply.server)
