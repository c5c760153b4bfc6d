"""What a policy is given, checked: what would be misread is refused with the reason."""

from collections.abc import Sized

import numpy as np
from numpy.typing import NDArray

from common.errors import UserError
from policy.interface import Array

ROUNDING = 1e-3
"""By how much floats that were resized or changed in type may leave [0, 1]."""


def checked_images(images: Array, views: int) -> Array:
    """Images (b, views, h, w, 3), uint8, or floats in [0, 1] -> the same, contiguous.

    Raises:
        UserError: they are of another shape or type, or lie elsewhere.
    """
    if images.ndim != 5 or images.shape[1] != views or images.shape[-1] != 3:
        raise UserError(f"images must have shape (b, {views}, h, w, 3), not {images.shape}")
    if images.dtype != np.uint8:
        if not np.issubdtype(images.dtype, np.floating):
            raise UserError(f"images must be uint8, or floats in [0, 1], not {images.dtype}")
        # neither holds where a pixel is not a number
        if not (images.min() >= -ROUNDING and images.max() <= 1 + ROUNDING):
            raise UserError(
                f"images of {images.dtype} must lie in [0, 1], not between {images.min():g} and {images.max():g}; "
                "give uint8 for values from 0 to 255"
            )
    return np.ascontiguousarray(images)


def checked_proprio(proprio: Array | None, batch: int, width: int) -> NDArray[np.float32]:
    """Proprioception (batch, width), zeros where there is none; UserError for another shape or what is no number."""
    if proprio is None:
        return np.zeros((batch, width), np.float32)
    if proprio.shape != (batch, width):
        raise UserError(f"proprio must have shape {(batch, width)}, not {proprio.shape}")
    if not np.isfinite(proprio).all():
        row, column = np.argwhere(~np.isfinite(proprio))[0]
        raise UserError(f"proprio must be finite, but number {column} of sample {row} is {proprio[row, column]}")
    return proprio.astype(np.float32)


def checked_queries(queries: Array, batch: int, views: int, tracks: int) -> NDArray[np.float32]:
    """First points (batch, views, >=1, tracks, 2) -> (batch, views, 1, tracks, 2); UserError for another shape."""
    start = np.asarray(queries, np.float32)[:, :, :1]
    expected = (batch, views, 1, tracks, 2)
    if start.shape != expected:
        raise UserError(f"init_queries must have shape {expected}, not {start.shape}")
    return start


def checked_instructions(prepared: Sized, batch: int) -> None:
    """UserError where there is not one for each sample."""
    if len(prepared) != batch:
        raise UserError(f"{batch} samples came with {len(prepared)} instructions; give one for each")
