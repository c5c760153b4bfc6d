"""How much happens in a window of time, by its motion tokens or by the motion itself; one number a window.

The energies of token vectors are those of LAPS: their mean length, or that of their changes from one token to the next.
Quantised vectors have the scale that the tokenizer gave them, so thresholds hold for one checkpoint only. Beside them
stands the speed that tokens decode to, which has a unit and, at the window's first steps, tells when something happens.
"""

from typing import Literal

import numpy as np
from torch import Tensor

Source = Literal["decoded", "quantized", "prequant", "velocity"]
Measure = Literal["change", "length"]

STILL_SPEED, STILL_SHARE = 0.02, 0.025
"""A window stands still whose mean speed is below the first and of whose points a smaller share than the second is
faster than that; speeds in normalised units a step."""


def token_energy(tokens: Tensor, measure: Measure = "change") -> Tensor:
    """Token vectors (w, s, d) -> (w,): the mean length of their changes from token to token, or of themselves.

    A single token has no changes; its length is taken.
    """
    if measure == "change" and tokens.shape[1] > 1:
        tokens = tokens.diff(dim=1)
    return tokens.norm(dim=-1).mean(-1)


def velocity_energy(velocities: Tensor) -> Tensor:
    """Velocities (w, ..., 2) -> (w,): the mean speed of all points at all times."""
    return velocities.norm(dim=-1).flatten(1).mean(-1)


def stands_still(velocities: Tensor, speed: float = STILL_SPEED, share: float = STILL_SHARE) -> Tensor:
    """Velocities (w, ..., 2) -> (w,) bool: windows in which next to nothing moves; their energy counts as 0."""
    speeds = velocities.norm(dim=-1).flatten(1)
    return (speeds.mean(-1) < speed) & ((speeds > speed).float().mean(-1) < share)


def smoothed(energy: np.ndarray, weight: float) -> np.ndarray:
    """(w,) -> (w,), exponentially: ``weight`` of the new value, the rest of the one before. 1 changes nothing."""
    result = np.asarray(energy, dtype=np.float64).copy()
    for i in range(1, len(result)):
        result[i] = weight * result[i] + (1 - weight) * result[i - 1]
    return result
