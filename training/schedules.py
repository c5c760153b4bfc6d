"""How learning rates go over a training, as parts of the full rate."""

from math import cos, pi

FLOOR = 0.01


def cosine(done: float, floor: float = FLOOR) -> float:
    """From 1 down to ``floor`` as ``done`` goes from 0 to 1."""
    return floor + (1 - floor) * (1 + cos(pi * min(done, 1.0))) / 2


def warm_cosine(step: int, warmup: int, steps: int) -> float:
    """At ``step`` of ``steps``: from a hundredth up to all of it over the first ``warmup`` steps, then down to a
    hundredth along a cosine, whose end is at ``steps``."""
    return FLOOR + (1 - FLOOR) * step / warmup if step < warmup else cosine((step - warmup) / max(steps - warmup, 1))


def linear_cosine(step: int, warmup: int, steps: int, floor: float) -> float:
    """At ``step`` of ``steps``: from 0, which changes nothing, up to all of it at the last of ``warmup`` steps, then
    along a cosine down towards ``floor``, which comes after the last step."""
    return step / max(warmup - 1, 1) if step < warmup else cosine((step - warmup) / max(steps - warmup, 1), floor)
