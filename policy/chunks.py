"""Joins the action chunks that a policy sends into one stream of actions, in evaluations and on robots alike.

A chunk (horizon, d) was computed from the observation of tick k; its row i is meant for tick k + i, so when it arrives
some ticks later, the rows that have passed are skipped. How the others take over from the chunk before is a joiner's
matter: at once, by blending, by temporal ensembling, or by real-time chunking (Black, Galliker and Levine, Real-Time
Execution of Action Chunking Flow Policies, 2025).
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from policy.interface import Plan

ENSEMBLE_DECAY = 0.01
BLEND_TICKS = 4
HISTORY = 32
"""Ticks that a plan remembers: an observation may lie so far back when the policy is asked about it."""


@dataclass(frozen=True)
class Planned:
    """The action (d,) for one tick and the tick of the observation behind the newest chunk in it.

    ``before``: where a chunk has arrived since the tick before, the action that was planned without it, if one was.
    """

    action: np.ndarray
    observed: int
    before: np.ndarray | None = None

    @property
    def change(self) -> np.ndarray | None:
        """By how much a new chunk changes this action, (d,); None where none has come."""
        return None if self.before is None else self.action - self.before


class Joiner(ABC):
    """Takes chunks, gives the actions of ticks that never go back."""

    def __init__(self) -> None:
        self._arrived: list[tuple[int, np.ndarray]] = []
        self._newest: int | None = None
        self._followed: int | None = None  # the newest that has anything to say

    def add(self, chunk: np.ndarray, observed: int) -> None:
        """A chunk (horizon, d) from the observation of tick ``observed``; one older than the newest is dropped."""
        if self._newest is None or observed > self._newest:
            self._newest = observed
            self._arrived.append((observed, np.asarray(chunk, np.result_type(chunk.dtype, np.float32))))

    def at(self, tick: int) -> Planned | None:
        """The action for ``tick``; None when no chunk reaches so far."""
        before = self._action(tick) if self._arrived else None
        for first, chunk in self._arrived:
            if first + len(chunk) > tick:  # else all of it has passed
                self._take(first, chunk, tick)
                self._followed = first
        self._arrived.clear()
        action = self._action(tick)
        if action is None or self._followed is None:
            return None
        return Planned(action, self._followed, before)

    def left(self, tick: int) -> int:
        """How many ticks from ``tick`` on have actions."""
        if self._arrived:
            first, chunk = self._arrived[-1]
            return max(0, first + len(chunk) - tick)
        return max(0, self._end() - tick)

    def plan(self, first: int, committed: int) -> Plan | None:
        """What a chunk whose rows are for ticks from ``first`` on is to go on with; None: it may do what it likes.

        ``committed`` is how many of its rows will have passed when it arrives.
        """
        return None

    def clear(self) -> None:
        """Forgets everything, at a stop or a new episode."""
        self._arrived.clear()
        self._newest = self._followed = None
        self._forget()

    @abstractmethod
    def _action(self, tick: int) -> np.ndarray | None:
        """What the chunks that were taken up say for ``tick``."""

    @abstractmethod
    def _take(self, first: int, chunk: np.ndarray, tick: int) -> None:
        """Takes up a chunk whose row 0 is for tick ``first``, when ``tick`` is the next to be acted on."""

    @abstractmethod
    def _end(self) -> int:
        """The first tick that no chunk which was taken up reaches."""

    @abstractmethod
    def _forget(self) -> None:
        """Drops the chunks that were taken up."""


class TemporalEnsemble(Joiner):
    """The mean of all predictions for a tick, weights exp(-decay i), i = 0 the oldest (ACT, section IV; AMPLIFY).

    As published with AMPLIFY, predictions that are all zero do not count.
    """

    def __init__(self, decay: float = ENSEMBLE_DECAY) -> None:
        super().__init__()
        self._decay = decay
        self._chunks: list[tuple[int, np.ndarray]] = []

    def _action(self, tick: int) -> np.ndarray | None:
        rows = [chunk[tick - first] for first, chunk in self._chunks if 0 <= tick - first < len(chunk)]
        if not rows:
            return None
        votes = np.stack(rows)
        weights = np.exp(-self._decay * np.arange(len(votes))) * votes.any(axis=1)
        return (weights @ votes / (weights.sum() or 1.0)).astype(votes.dtype)

    def _take(self, first: int, chunk: np.ndarray, tick: int) -> None:
        kept = [(begun, rows) for begun, rows in self._chunks if tick < begun + len(rows)]
        self._chunks = [*kept, (first, chunk)]

    def _end(self) -> int:
        return max((first + len(chunk) for first, chunk in self._chunks), default=0)

    def _forget(self) -> None:
        self._chunks.clear()


class _OnePlan(Joiner):
    """Keeps one plan; from the tick at which a chunk arrives on, it takes over row by row."""

    def __init__(self) -> None:
        super().__init__()
        self._first = 0
        self._rows: np.ndarray | None = None

    @abstractmethod
    def _kept(self, overlap: int) -> np.ndarray:
        """The share (overlap,) of the plan in each of the next rows that both it and a new chunk have."""

    def _action(self, tick: int) -> np.ndarray | None:
        known = self._rows is not None and 0 <= tick - self._first < len(self._rows)
        return self._rows[tick - self._first] if known else None  # type: ignore[index]

    def _take(self, first: int, chunk: np.ndarray, tick: int) -> None:
        new = chunk[max(0, tick - first) :]
        begins = max(tick, first)
        passed, coming = self._split(begins, new[:0])
        overlap = min(len(coming), len(new))
        kept = self._kept(overlap)[:, None].astype(new.dtype)
        joined = kept * coming[:overlap] + (1 - kept) * new[:overlap]
        passed = passed[-HISTORY:]
        self._first, self._rows = begins - len(passed), np.concatenate([passed, joined, new[overlap:]])

    def _split(self, tick: int, nothing: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The plan's rows before ``tick``, up to it without a gap, and those from it on."""
        if self._rows is None or tick > self._end():
            return nothing, nothing
        return self._rows[: tick - self._first], self._rows[tick - self._first :]

    def _end(self) -> int:
        return 0 if self._rows is None else self._first + len(self._rows)

    def _forget(self) -> None:
        self._rows = None


class OverlapBlend(_OnePlan):
    """Goes over from the plan to the new chunk within ``blend`` ticks, linearly; with 0 at once."""

    def __init__(self, blend: int = BLEND_TICKS):
        super().__init__()
        self._blend = blend

    def _kept(self, overlap: int) -> np.ndarray:
        return np.maximum(0.0, 1 - np.arange(1, overlap + 1) / (self._blend + 1))


class RealTimeChunking(_OnePlan):
    """The policy is told what is planned: its first rows, which will have passed when the answer comes, are frozen,
    and of the rows after them the less is kept the later they are (soft masking, equation 5 of the paper).

    A policy that can inpaints the rest (``policy.interface.InpaintingPolicy``). What any other gives, and what
    guidance has left over, is blended with the plan by the very same weights.
    """

    def _kept(self, overlap: int) -> np.ndarray:
        return soft_mask(overlap)

    def plan(self, first: int, committed: int) -> Plan | None:
        """See ``Joiner``; rows that were never planned have weight 0."""
        if self._rows is None or first >= self._end():
            return None
        known = self._end() - first
        unknown = min(max(0, self._first - first), known)
        frozen = min(committed, known)
        weights = np.concatenate([np.ones(frozen), soft_mask(known - frozen)]).astype(np.float32)
        weights[:unknown] = 0
        actions = np.zeros((known, self._rows.shape[1]), np.float32)
        actions[unknown:] = self._rows[first + unknown - self._first :]
        return Plan(actions, weights)


def soft_mask(overlap: int) -> np.ndarray:
    """How much of the plan is kept in each of ``overlap`` rows after the frozen ones, (overlap,): from near 1 to 0.

    >>> soft_mask(4).round(2).tolist()
    [0.57, 0.29, 0.11, 0.03]
    """
    share = (overlap - np.arange(overlap)) / (overlap + 1)
    return share * np.expm1(share) / np.expm1(1)


JOINERS: dict[str, Callable[[], Joiner]] = {
    "switch": lambda: OverlapBlend(0),
    "blend": OverlapBlend,
    "ensemble": TemporalEnsemble,
    "realtime": RealTimeChunking,
}
"""What ``--join`` names."""
