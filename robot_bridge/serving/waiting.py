"""Requests that wait for the policy: fair turns, newest wins, stale ones go first, what fits together is batched."""

from collections import OrderedDict
from dataclasses import dataclass

import numpy as np

from policy.interface import Plan
from robot_bridge.serving.observation import PolicyInputs
from robot_bridge.serving.replies import Asked

ACTIVE = 1.0
"""Seconds without a request after which a client no longer counts as one worth waiting for."""


@dataclass(frozen=True)
class Request(Asked):
    """One request to the policy, checked.

    ``plans``: what each row's chunk is to go on with.
    ``bare``: the client expects the actions alone, without ``info``, as GR00T N1.5's do.
    """

    inputs: PolicyInputs
    expires: float
    plans: tuple[Plan | None, ...] = ()
    queries: np.ndarray | None = None
    bare: bool = False
    warning: str | None = None


class Waiting:
    """At most one waiting request a client, in a line. Not thread-safe; its owner holds a lock.

    A client keeps its place in the line when a newer request replaces an older one, and goes to the end once served:
    so turns go round, however often anyone asks. A batch is due when it is full, when every client that is active has
    its request in, or when the first in line has stood there for ``max_wait`` seconds: a lone client never waits.
    """

    def __init__(self, max_rows: int, max_wait: float):
        self._max_rows = max_rows
        self._max_wait = max_wait
        self._line: OrderedDict[bytes, tuple[float, Request]] = OrderedDict()  # since when, and the newest request
        self._seen: OrderedDict[bytes, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._line)

    def add(self, request: Request) -> Request | None:
        """Takes ``request`` in; returns the older one of the same client that it replaces."""
        self._seen[request.peer] = request.received
        self._seen.move_to_end(request.peer)
        while request.received - next(iter(self._seen.values())) > ACTIVE:
            self._seen.popitem(last=False)
        since, replaced = self._line.get(request.peer, (request.received, None))
        self._line[request.peer] = (since, request)
        return replaced

    def cancel(self, peer: bytes) -> Request | None:
        """Takes out the waiting request of ``peer``."""
        return self._line.pop(peer, (0.0, None))[1]

    def due_in(self, now: float) -> float | None:
        """Seconds until a batch should be taken; None when nothing waits."""
        if not self._line:
            return None
        active = sum(1 for seen in self._seen.values() if now - seen <= ACTIVE)
        rows = sum(request.inputs.rows for _, request in self._line.values())
        if rows >= self._max_rows or len(self._line) >= active:
            return 0.0
        since, _ = next(iter(self._line.values()))
        return max(0.0, since + self._max_wait - now)

    def take_expired(self, now: float) -> list[Request]:
        """Takes out what nobody waits for any more."""
        expired = [request for _, request in self._line.values() if now > request.expires]
        for request in expired:
            del self._line[request.peer]
        return expired

    def take(self, now: float, expected: float) -> list[Request]:
        """The next batch: the first in line and what may share its policy call, at most ``max_rows`` rows.

        ``expected`` (s) is how long the policy will take. Requests that would expire before that stand back behind
        those that can be answered in time: under overload a policy that is always too late would serve nobody.
        """
        batch: list[Request] = []
        rows = 0
        for request in sorted(
            (request for _, request in self._line.values()), key=lambda one: one.expires < now + expected
        ):
            shares = not batch or request.endpoint == batch[0].endpoint == "get_action"
            if shares and (not batch or rows + request.inputs.rows <= self._max_rows):
                batch.append(request)
                rows += request.inputs.rows
        for request in batch:
            del self._line[request.peer]
        return batch
