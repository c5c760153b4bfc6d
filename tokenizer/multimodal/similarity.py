"""How alike two images are: structural similarity (Wang et al., 2004) as scikit-image computes it by default."""

import numpy as np
from PIL import Image
from skimage.metrics import structural_similarity

from common.errors import UserError

WINDOW = 7
"""Pixels of the square that statistics are taken over."""


def grey(image: np.ndarray) -> np.ndarray:
    """(h, w, 3) uint8 -> (h, w) uint8 luma, ITU-R 601 in PIL's fixed-point arithmetic."""
    return np.asarray(Image.fromarray(image).convert("L"))


def ssim(a: np.ndarray, b: np.ndarray) -> float:
    """Mean structural similarity of two grey images (h, w) uint8: 1 where they are the same.

    Raises:
        UserError: they differ in size, or are smaller than the window.
    """
    if a.shape != b.shape or a.ndim != 2 or min(a.shape) < WINDOW:
        raise UserError(f"SSIM is of two grey images of one size, {WINDOW} px at least, not of {a.shape} and {b.shape}")
    return float(structural_similarity(a, b, win_size=WINDOW))
