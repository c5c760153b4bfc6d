"""How alike two images are: structural similarity (Wang et al., 2004) as scikit-image computes it by default."""

import numpy as np
from PIL import Image
from scipy.ndimage import uniform_filter

from common.errors import UserError

WINDOW = 7
"""Pixels of the square that statistics are taken over."""
_K1, _K2, _RANGE = 0.01, 0.03, 255.0


def grey(image: np.ndarray) -> np.ndarray:
    """(h, w, 3) uint8 -> (h, w) uint8 luma, ITU-R 601 in PIL's fixed-point arithmetic."""
    return np.asarray(Image.fromarray(image).convert("L"))


def ssim(a: np.ndarray, b: np.ndarray) -> float:
    """Mean structural similarity of two grey images (h, w) with values 0 to 255: 1 where they are the same.

    A uniform window of 7 x 7 pixels, sample covariance, K1 = .01 and K2 = .03; the 3 pixels at the border, where the
    window is not full, do not count.

    Raises:
        UserError: they differ in size, or are smaller than the window.
    """
    if a.shape != b.shape or a.ndim != 2 or min(a.shape) < WINDOW:
        raise UserError(f"SSIM is of two grey images of one size, {WINDOW} px at least, not of {a.shape} and {b.shape}")
    a, b = a.astype(np.float32), b.astype(np.float32)
    mean_a, mean_b = uniform_filter(a, WINDOW), uniform_filter(b, WINDOW)
    sample = WINDOW**2 / (WINDOW**2 - 1)
    var_a = sample * (uniform_filter(a * a, WINDOW) - mean_a * mean_a)
    var_b = sample * (uniform_filter(b * b, WINDOW) - mean_b * mean_b)
    covariance = sample * (uniform_filter(a * b, WINDOW) - mean_a * mean_b)
    c1, c2 = (_K1 * _RANGE) ** 2, (_K2 * _RANGE) ** 2
    similarity = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
    similarity /= (mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2)
    border = WINDOW // 2
    return float(similarity[border:-border, border:-border].mean(dtype=np.float64))
