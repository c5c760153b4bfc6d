"""Images at the policy's size: the middle of the picture in the policy's shape, every pixel the average of its area.

Averaging is what keeps fine patterns from turning into coarse ones that are not there (aliasing).
"""

import numpy as np


def resize(images: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """``images`` (..., h, w, 3) uint8 at ``size`` (h, w); what does not fit at the edges is cut off."""
    height, width = size
    tall, wide = images.shape[-3:-1]
    if (tall, wide) == size:
        return images
    scale = min(tall / height, wide / width)
    tall_part, wide_part = round(height * scale), round(width * scale)
    top, left = (tall - tall_part) // 2, (wide - wide_part) // 2
    middle = images[..., top : top + tall_part, left : left + wide_part, :]
    averaged = _averages(_averages(middle, height, axis=-3), width, axis=-2)
    return np.rint(averaged).astype(np.uint8)


def _averages(values: np.ndarray, count: int, axis: int) -> np.ndarray:
    """The averages of ``count`` equal stretches of ``axis``; a value on a border counts for each side as it lies."""
    size = values.shape[axis]
    borders = np.linspace(0, size, count + 1)
    starts, ends = borders[:-1], borders[1:]
    total = np.zeros(1, np.float32)
    for step in range(int(np.ceil(size / count)) + 1):  # the first value of every stretch, the second, ...
        index = starts.astype(int) + step
        inside = np.minimum(index + 1, ends) - np.maximum(index, starts)
        weights = (np.maximum(inside, 0) * (count / size)).astype(np.float32)
        shape = [count if number == axis % values.ndim else 1 for number in range(values.ndim)]
        total = total + weights.reshape(shape) * values.take(np.minimum(index, size - 1), axis)
    return total
