"""What a hand is doing at each step of a demonstration, reaching, grasping, carrying: scripted experts know it."""

from itertools import pairwise
from typing import NamedTuple

import numpy as np

WAIT = "wait"
PHASES = (WAIT, "reach", "grasp", "carry", "turn", "open", "close", "push", "retreat")
"""wait: hold still. reach: go to something. grasp: close the fingers on it. carry: lift it, bring it, lower it. turn a
knob; open or close a drawer or a door; push something along. retreat: let go and leave."""


class Segment(NamedTuple):
    """A stretch of time in a demonstration or video, from ``start`` up to but without ``end``, in one unit."""

    start: float
    end: float


def phase_numbers(names: list[str]) -> np.ndarray:
    """A phase for each step -> (T,) uint8, its number in ``PHASES``."""
    return np.array([PHASES.index(name) for name in names], dtype=np.uint8)


def phase_segments(phases: np.ndarray, names: tuple[str, ...] = PHASES) -> list[tuple[str, Segment]]:
    """Phases (T,) -> what was done, one stretch after the other, in steps; waiting is left out.

    >>> phase_segments(np.array([0, 1, 1, 1, 2, 3, 3]))
    [('reach', Segment(start=1, end=4)), ('grasp', Segment(start=4, end=5)), ('carry', Segment(start=5, end=7))]
    """
    cuts = [0, *(np.flatnonzero(np.diff(phases)) + 1).tolist(), len(phases)]
    found = ((names[phases[start]], Segment(start, end)) for start, end in pairwise(cuts))
    return [(name, segment) for name, segment in found if name != WAIT]
