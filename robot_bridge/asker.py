"""Asks the policy beside the control loop, which never waits for an answer.

Over a slow or lossy network one request at a time is not enough: the next chunk would come a whole round trip after the
last, and one lost answer would hold the arm. So several may be under way, each with the newest observation of its time.
"""

import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from policy.interface import Plan

PACE = 1.5
"""A server is asked again no sooner than this many times what it took last: two requests must not queue up there."""


@dataclass(frozen=True)
class Observation:
    """What the policy sees at one time: images (v, h, w, 3) uint8, q (n,) rad simulator order, fingers (f,) m.

    ``hands`` (a, 6) are the end effectors of the arms: position (m) and axis-angle (rad), in each base's frame.
    ``tick`` is the control period that a chunk's first action is meant for, ``at`` the monotonic time (s), ``plan``
    what the chunk is to go on with, if the policy can.
    """

    tick: int
    at: float
    images: np.ndarray
    q: np.ndarray
    fingers: np.ndarray
    hands: np.ndarray = field(default_factory=lambda: np.zeros((0, 6)))
    plan: Plan | None = None


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
    """Asks for chunks in threads of its own, one for each of ``asks``; so many requests may be under way.

    While answers come quickly the first of ``asks`` is used alone, the others are for when it is busy.
    """

    def __init__(self, *asks: Ask):
        self._lock = threading.Lock()
        self._answers: list[Answer] = []
        self._orders: list[queue.SimpleQueue[Observation | None]] = [queue.SimpleQueue() for _ in asks]
        self._free = list(reversed(range(len(asks))))  # the last one is the next to ask
        self._asked_at, self._took, self._server = -np.inf, np.inf, 0.0
        self._threads = [
            threading.Thread(target=self._work, args=(number, ask), name=f"asker-{number}", daemon=True)
            for number, ask in enumerate(asks)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def idle(self) -> bool:
        """Whether no request is under way."""
        return len(self._free) == len(self._orders)

    @property
    def overdue(self) -> bool:
        """Whether the newest request takes more than twice as long as the last answer did: it may have got lost."""
        return not self.idle and time.monotonic() - self._asked_at > 2 * self._took

    def want(self, observation: Observation) -> bool:
        """Asks, unless as many requests are under way as may be, or the server is slow; returns at once."""
        now = time.monotonic()
        with self._lock:
            if not self._free or (not self.idle and now - self._asked_at < PACE * self._server):
                return False
            self._asked_at = now
            self._orders[self._free.pop()].put(observation)
            return True

    def take(self) -> list[Answer]:
        """The answers that have come since the last call, in the order of their coming."""
        with self._lock:
            answers, self._answers = self._answers, []
        return answers

    def close(self) -> None:
        """Ends the threads after the requests that are under way."""
        for order in self._orders:
            order.put(None)
        for thread in self._threads:
            thread.join(2)

    def _work(self, number: int, ask: Ask) -> None:
        while (observation := self._orders[number].get()) is not None:
            answer = _answer(ask, observation)
            with self._lock:
                if answer.chunk is None:  # its connection may be stuck: the others first
                    self._free.insert(0, number)
                else:
                    self._free.append(number)
                    self._took, self._server = answer.seconds, answer.server
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
