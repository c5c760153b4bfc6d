"""Requests that wait for the policy: newest wins, expired ones are given back, what fits together is batched."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from policy.remote.wire import Encoding
from robot_bridge.observation import PolicyInputs

ACTIVE = 1.0
"""Seconds without a request after which a client no longer counts as one worth waiting for."""


@dataclass(frozen=True)
class Request:
    """One request to the policy. Times are this machine's monotonic seconds."""

    peer: bytes
    envelope: dict[str, Any]
    encoding: Encoding | None
    endpoint: str
    inputs: PolicyInputs
    received: float
    expires: float
    queries: np.ndarray | None = None


class Waiting:
    """At most one waiting request a client. Not thread-safe; its owner holds a lock.

    A batch is taken when it is full, when every client that is active has its request in, or when the oldest has
    waited ``max_wait`` seconds: a lone client never waits for others.
    """

    def __init__(self, max_rows: int, max_wait: float):
        self._max_rows = max_rows
        self._max_wait = max_wait
        self._requests: OrderedDict[bytes, Request] = OrderedDict()
        self._seen: OrderedDict[bytes, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._requests)

    def add(self, request: Request) -> Request | None:
        """Puts ``request`` last; returns the older one of the same client that it replaces."""
        self._seen[request.peer] = request.received
        self._seen.move_to_end(request.peer)
        while request.received - next(iter(self._seen.values())) > ACTIVE:
            self._seen.popitem(last=False)
        replaced = self._requests.pop(request.peer, None)
        self._requests[request.peer] = request
        return replaced

    def cancel(self, peer: bytes) -> Request | None:
        """Takes out the waiting request of ``peer``."""
        return self._requests.pop(peer, None)

    def due_in(self, now: float) -> float | None:
        """Seconds until a batch should be taken; None when nothing waits."""
        if not self._requests:
            return None
        active = sum(1 for seen in self._seen.values() if now - seen <= ACTIVE)
        rows = sum(request.inputs.rows for request in self._requests.values())
        if rows >= self._max_rows or len(self._requests) >= active:
            return 0.0
        oldest = next(iter(self._requests.values()))
        return max(0.0, oldest.received + self._max_wait - now)

    def take(self, now: float, on_expired: Callable[[Request], None]) -> list[Request]:
        """The next batch: the oldest request and what may share its policy call, at most ``max_rows`` rows."""
        batch: list[Request] = []
        rows = 0
        for request in list(self._requests.values()):
            if now > request.expires:
                on_expired(self._requests.pop(request.peer))
            elif not batch or (request.endpoint == batch[0].endpoint == "get_action" and rows < self._max_rows):
                if rows + request.inputs.rows > self._max_rows and batch:
                    continue
                batch.append(self._requests.pop(request.peer))
                rows += request.inputs.rows
        return batch
