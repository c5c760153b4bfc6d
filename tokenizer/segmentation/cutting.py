"""From energies to segments: a state machine with hysteresis that knows when an action begins and ends (as in LAPS)."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np

from common.errors import UserError
from demos.phases import Segment


@dataclass(frozen=True)
class Cutting:
    """How energies are cut; counts are in windows. The defaults are LAPS's, for windows every 0.4 s.

    Args:
        threshold: an action begins where the energy reaches this ``up`` times in a row.
        hysteresis: it ends where the energy is below this part of the threshold ``down`` times in a row.
        cooldown: so many windows after an end none begins.
        longest: an action that is as long as this ends; 0 for any length.
        shortest: segments of fewer windows are left out.
        gaps: stillness of at least so many seconds between two actions is an action of its own, as when fingers close
            on something; 0 for none.
        align: "laps" starts a segment at the last of the windows that began it and ends it with those that ended it;
            "center" takes the first of either, at the middle of the window's frames.
    """

    threshold: float
    hysteresis: float = 0.95
    up: int = 2
    down: int = 2
    cooldown: int = 1
    longest: int = 5
    shortest: int = 3
    gaps: float = 0.0
    align: Literal["center", "laps"] = "center"

    def __post_init__(self) -> None:
        if min(self.up, self.down) < 1 or min(self.cooldown, self.longest, self.shortest, self.gaps) < 0:
            raise UserError("up and down must be at least 1; cooldown, longest, shortest and gaps not negative")


def confidence(energy: np.ndarray, segment: Segment, step: float) -> float:
    """The mean energy of the windows (one every ``step`` s) that begin inside a segment; without any, its length."""
    times = np.arange(len(energy)) * step
    inside = energy[(times >= segment.start) & (times <= segment.end)]
    return float(inside.mean()) if len(inside) else segment.end - segment.start


def active_windows(energy: np.ndarray, cutting: Cutting) -> list[tuple[int, int]]:
    """Energies (w,) -> first and last windows, both included, as the state machine sees them."""
    found: list[tuple[int, int]] = []
    low = cutting.threshold * cutting.hysteresis
    start: int | None = None
    run = length = cooldown = 0
    for i, value in enumerate(energy):
        cooldown = max(cooldown - 1, 0)
        if start is None:
            run = run + 1 if value >= cutting.threshold else 0
            if cooldown == 0 and run >= cutting.up:
                start, length, run = i, 0, 0
            continue
        run = run + 1 if value < low else 0
        length += 1
        if run >= cutting.down or (cutting.longest and length >= cutting.longest):
            found.append((start, i))
            start, run, cooldown = None, 0, cutting.cooldown
    if start is not None:
        found.append((start, len(energy) - 1))
    return [(first, last) for first, last in found if last - first + 1 >= cutting.shortest]


def cut(energy: np.ndarray, cutting: Cutting, stride: int, length: int, rate: float, duration: float) -> list[Segment]:
    """Energies (w,) of windows of ``length`` frames, one every ``stride`` frames, -> segments in seconds.

    There are ``rate`` frames a second, and nothing is after ``duration`` seconds.
    """
    step = stride / rate
    segments = []
    for first, last in active_windows(energy, cutting):
        if cutting.align == "laps":
            segment = Segment(first * step, (last + 1) * step)
        else:
            ended = last < len(energy) - 1 and energy[last] < cutting.threshold * cutting.hysteresis
            middle = (length - 1) / 2 / rate
            begin = (first - cutting.up + 1) * step + middle
            end = (last - (cutting.down if ended else 0)) * step + middle
            # nobody has seen what was before the middle of the first window, or after that of the last
            segment = Segment(0.0 if first < cutting.up else begin, end if ended else end + middle)
        if segment.start < min(segment.end, duration):
            segments.append(Segment(segment.start, min(segment.end, duration)))
    if cutting.gaps:
        still = (Segment(one.end, other.start) for one, other in pairwise(segments))
        segments = sorted([*segments, *(gap for gap in still if gap.end - gap.start >= cutting.gaps)])
    return segments
