"""How learning rates go over a training."""

from math import cos, pi

FLOOR = 0.01


def warm_cosine(step: int, warmup: int, steps: int) -> float:
    """The part of the full rate at ``step`` of ``steps``: from a hundredth up to all of it over the first ``warmup``
    steps, then down to a hundredth along a cosine, whose end is at ``steps``."""
    if step < warmup:
        return FLOOR + (1 - FLOOR) * step / warmup
    done = min((step - warmup) / max(steps - warmup, 1), 1.0)
    return FLOOR + (1 - FLOOR) * (1 + cos(pi * done)) / 2


def linear_cosine(step: int, warmup: int, steps: int, floor: float = 0.0) -> float:
    """The part of the full rate at ``step`` of ``steps``: from 0, which changes nothing, up to all of it at the last of
    ``warmup`` steps, then along a cosine down towards ``floor``, which comes after the last step."""
    if step < warmup:
        return step / max(warmup - 1, 1)
    done = min((step - warmup) / max(steps - warmup, 1), 1.0)
    return floor + (1 - floor) * (1 + cos(pi * done)) / 2
