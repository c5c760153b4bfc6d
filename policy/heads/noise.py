"""The noise that sampling heads start from where a seed says which: the same with torch and without it."""

import numpy as np
from numpy.typing import NDArray


def seeded_noise(draws: int, batch: int, shape: tuple[int, int], seed: int | None) -> NDArray[np.float32]:
    """Normal draws (draws, batch, *shape).

    With a ``seed`` all rows are alike, and the same every time: actions then depend on the observation alone, not on
    the batch that it comes in nor on what was asked before. Without one every row is drawn anew.
    """
    rows = batch if seed is None else 1
    drawn = np.random.default_rng(seed).standard_normal((draws, rows, *shape), np.float32)
    return drawn.repeat(batch // rows, 1)
