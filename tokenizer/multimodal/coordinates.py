"""Joints of a body as tokens: the bin that x lies in, the bin of y, and whether the joint is seen."""

import numpy as np

from common.errors import UserError
from tokenizer.multimodal.canvas import SIDE, Canvas

BINS = 8192
"""Bins over a side of the canvas, by default."""


def coordinate_tokens(
    points: np.ndarray, visible: np.ndarray, canvas: Canvas, where: str = "", bins: int = BINS
) -> np.ndarray:
    """Points (..., j, 2) in pixels of a frame, and whether they are seen (..., j), -> tokens (..., 3, j) uint16.

    The rows are x, y and visibility (1 or 0). With ``crop`` a point that is cut off is put on the border and is not
    seen; ``where`` names the frames in errors.

    Raises:
        UserError: a coordinate is not a number.
    """
    if not np.isfinite(points).all():
        place = np.argwhere(~np.isfinite(points).all(-1))[0].tolist()
        *frame, joint = place
        frames = f" frame {frame[0]}" if frame else ""
        raise UserError(f"{where or 'coordinates'}{frames}: joint {joint} has no finite coordinates; mend the labels")
    placed = canvas.points(points)
    if canvas.fit == "crop":
        visible = visible & canvas.inside(placed)
    found = coordinate_bins(placed, bins)
    return np.stack([found[..., 0], found[..., 1], visible.astype(np.uint16)], -2)


def coordinate_bins(pixels: np.ndarray, bins: int = BINS) -> np.ndarray:
    """Pixels of the canvas -> bins, uint16; what lies outside goes into the outermost ones.

    >>> coordinate_bins(np.array([-3.0, 0.0, 1.0, 128.0, 256.0, 300.0])).tolist()
    [0, 0, 32, 4096, 8191, 8191]
    """
    return np.clip(np.rint(pixels.astype(np.float64) / SIDE * (bins - 1)), 0, bins - 1).astype(np.uint16)


def decoded_coordinates(tokens: np.ndarray, bins: int = BINS) -> tuple[np.ndarray, np.ndarray]:
    """Tokens (..., 3, j) -> points (..., j, 2) in pixels of the canvas, and whether they are seen (..., j)."""
    points = np.moveaxis(tokens[..., :2, :], -2, -1).astype(np.float64) / (bins - 1) * SIDE
    return points, tokens[..., 2, :] != 0
