"""How well segments agree with the true ones: F1 and mean average precision by overlap, F1 of the boundaries.

What a segment is of does not count. Where several videos are scored, matches are counted over all of them.
"""

from collections.abc import Sequence
from typing import NamedTuple

from demos.phases import Segment

Segments = Sequence[Segment]


class F1(NamedTuple):
    """The harmonic mean of precision and recall, and both."""

    f1: float
    precision: float
    recall: float

    @classmethod
    def of(cls, hits: int, true: int, found: int) -> "F1":
        """From counts. Where nothing is true, recall is 1 if nothing was found, else 0; precision is 1."""
        precision = hits / found if found and true else float(not true)
        recall = hits / true if true else float(not found)
        return cls(2 * precision * recall / (precision + recall) if precision + recall else 0.0, precision, recall)


def overlap(a: Segment, b: Segment) -> float:
    """Intersection over union."""
    both = max(0.0, min(a.end, b.end) - max(a.start, b.start))
    union = (a.end - a.start) + (b.end - b.start) - both
    return both / max(1e-8, union)


def _best_unused(segment: Segment, true: Segments, used: set[int]) -> tuple[int, float]:
    """Number and overlap of the free true segment that overlaps most; -1 if there is none."""
    free = [(overlap(segment, other), -i) for i, other in enumerate(true) if i not in used]
    best, number = max(free, default=(0.0, 1))
    return -number, best


def segment_f1(true: Sequence[Segments], found: Sequence[Segments], least: float) -> F1:
    """Of all videos: each found segment, in order of time, takes the free true one that it overlaps most, if it does so
    by ``least``."""
    hits = 0
    for of_video, segments in zip(true, found, strict=True):
        used: set[int] = set()
        for segment in sorted(segments):
            number, best = _best_unused(segment, of_video, used)
            if number >= 0 and best >= least:
                used.add(number)
                hits += 1
    wanted, predicted = sum(map(len, true)), sum(map(len, found))
    total = wanted + predicted
    f1 = 2 * hits / total if total else 1.0
    return F1(f1, hits / predicted if predicted else 0.0, hits / wanted if wanted else 0.0)


def boundaries(segments: Segments, duration: float) -> list[float]:
    """Starts and ends in the midst of a video of ``duration``, sorted."""
    return sorted([s.start for s in segments if s.start > 0] + [s.end for s in segments if s.end < duration])


def boundary_f1(true: Segments, found: Segments, duration: float, tolerance: float) -> F1:
    """Of one video: each true boundary, in order, takes the nearest free found one if it is within ``tolerance``."""
    if not found and true:
        return F1(0.0, 0.0, 0.0)
    wanted, predicted = boundaries(true, duration), boundaries(found, duration)
    free, hits = list(predicted), 0
    for boundary in wanted:
        nearest = min(free, key=lambda other: abs(other - boundary), default=None)
        if nearest is not None and abs(nearest - boundary) <= tolerance:
            free.remove(nearest)
            hits += 1
    return F1.of(hits, len(wanted), len(predicted))


def mean_average_precision(
    true: Sequence[Segments], found: Sequence[tuple[int, Segment, float]], least: float
) -> float:
    """The area under the envelope of precision over recall, when the segments found in all videos, (video, segment,
    confidence), are taken surest first."""
    used: list[set[int]] = [set() for _ in true]
    wanted, hits, curve = sum(map(len, true)), 0, []
    for rank, (video, segment, _) in enumerate(sorted(found, key=lambda entry: -entry[2]), start=1):
        number, best = _best_unused(segment, true[video], used[video])
        if number >= 0 and best >= least:
            used[video].add(number)
            hits += 1
        curve.append((hits / max(wanted, 1), hits / rank))
    area, precision, upper = 0.0, 0.0, curve[-1][0] if curve else 0.0
    for recall, value in reversed(curve):
        area += (upper - recall) * precision
        precision, upper = max(precision, value), recall
    return area + upper * precision
