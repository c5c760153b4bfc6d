"""Joins the action chunks that a policy sends into one stream of actions, without a jerk and without a step back.

A chunk (horizon, d) was computed from the observation of tick k; its row i is meant for tick k + i, so when it arrives
some ticks later, the rows that have passed are skipped.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

ENSEMBLE_DECAY = 0.01


@dataclass(frozen=True)
class Planned:
    """The action for one tick and the tick of the observation behind the newest chunk in it."""

    action: np.ndarray
    observed: int


class Joiner(Protocol):
    """Takes chunks, gives actions."""

    def add(self, chunk: np.ndarray, observed: int) -> None:
        """A chunk (horizon, d) from the observation of tick ``observed``; one older than the newest is dropped."""
        ...

    def at(self, tick: int) -> Planned | None:
        """The action (d,) for ``tick``, None when no chunk reaches so far."""
        ...

    def left(self, tick: int) -> int:
        """How many ticks from ``tick`` on have actions."""
        ...

    def clear(self) -> None:
        """Forgets everything, at a stop or a new episode."""
        ...


class TemporalEnsemble:
    """The mean of all predictions for a tick, weights exp(-0.01 i), i = 0 the oldest (ACT, section IV; AMPLIFY)."""

    def __init__(self) -> None:
        self._chunks: list[tuple[int, np.ndarray]] = []

    def add(self, chunk: np.ndarray, observed: int) -> None:
        """See ``Joiner``."""
        if not self._chunks or observed > self._chunks[-1][0]:
            self._chunks.append((observed, chunk))

    def at(self, tick: int) -> Planned | None:
        """See ``Joiner``."""
        self._chunks = [(first, chunk) for first, chunk in self._chunks if tick < first + len(chunk)]
        votes = [chunk[tick - first] for first, chunk in self._chunks if tick >= first]
        if not votes:
            return None
        weights = np.exp(-ENSEMBLE_DECAY * np.arange(len(votes)))
        return Planned(weights @ np.stack(votes) / weights.sum(), self._chunks[-1][0])

    def left(self, tick: int) -> int:
        """See ``Joiner``."""
        return max((first + len(chunk) - tick for first, chunk in self._chunks), default=0)

    def clear(self) -> None:
        """See ``Joiner``."""
        self._chunks.clear()


class OverlapBlend:
    """Goes over from the old chunk to the new one within ``blend`` ticks, linearly, from the tick it arrives at."""

    def __init__(self, blend: int = 4):
        self._blend = blend
        self._old: tuple[int, np.ndarray] | None = None
        self._new: tuple[int, np.ndarray] | None = None
        self._since: int | None = None

    def add(self, chunk: np.ndarray, observed: int) -> None:
        """See ``Joiner``."""
        if self._new is None or observed > self._new[0]:
            self._old, self._new, self._since = self._new, (observed, chunk), None

    def at(self, tick: int) -> Planned | None:
        """See ``Joiner``."""
        if self._new is None:
            return None
        first, _ = self._new
        new, old = _row(self._new, tick), _row(self._old, tick)
        if new is None:
            return None
        if self._since is None:
            self._since = tick
        share = (tick - self._since + 1) / (self._blend + 1)
        return Planned(new if old is None or share >= 1 else (1 - share) * old + share * new, first)

    def left(self, tick: int) -> int:
        """See ``Joiner``."""
        return 0 if self._new is None else max(0, self._new[0] + len(self._new[1]) - tick)

    def clear(self) -> None:
        """See ``Joiner``."""
        self._old = self._new = self._since = None


def _row(chunk: tuple[int, np.ndarray] | None, tick: int) -> np.ndarray | None:
    if chunk is None or not 0 <= tick - chunk[0] < len(chunk[1]):
        return None
    return chunk[1][tick - chunk[0]]
