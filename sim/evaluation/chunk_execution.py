"""From chunks of predicted actions to the one action of this step: open loop, or temporal ensembling (ACT).

Both answer two questions: must the policy be asked now (``due``), and what is the action of this step (``next``).
"""

from typing import Protocol

import numpy as np


class Chunks(Protocol):
    """One episode's way of executing action chunks, each ``(horizon, 7)``."""

    @property
    def due(self) -> bool:
        """Whether a chunk predicted from the present observation has to be ``put`` before ``next``."""

    def put(self, chunk: np.ndarray) -> None:
        """Take a chunk ``(horizon, 7)`` whose first action is for this step."""

    def next(self) -> np.ndarray:
        """The action ``(7,)`` of this step; moves on to the next step."""


class OpenLoop:
    """Executes the first ``replan`` actions of every chunk, then asks again."""

    def __init__(self, replan: int) -> None:
        self._replan = replan
        self._chunk = np.empty((0, 7), np.float32)
        self._used = 0

    @property
    def due(self) -> bool:
        return self._used == len(self._chunk)

    def put(self, chunk: np.ndarray) -> None:
        self._chunk, self._used = chunk[: self._replan], 0

    def next(self) -> np.ndarray:
        self._used += 1
        return self._chunk[self._used - 1]


class TemporalEnsemble:
    """Asks at every step and averages all predictions made for it, as published with AMPLIFY.

    The i-th oldest prediction has weight ``exp(-decay * i)``, so the oldest counts most; predictions that are all
    zero do not count.
    """

    def __init__(self, decay: float = 0.01) -> None:
        self._decay = decay
        self._chunks: list[np.ndarray] = []

    @property
    def due(self) -> bool:
        return True

    def put(self, chunk: np.ndarray) -> None:
        self._chunks = [*self._chunks, chunk][-len(chunk) :]

    def next(self) -> np.ndarray:
        newest = len(self._chunks) - 1
        votes = np.stack([chunk[newest - age] for age, chunk in enumerate(self._chunks)])
        weights = np.exp(-self._decay * np.arange(len(votes))) * votes.any(axis=1)
        return (weights @ votes / (weights.sum() + 1e-8)).astype(votes.dtype)
