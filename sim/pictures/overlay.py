"""Draws point trajectories over images: anti-aliased at sub-pixel positions, coloured by time, with fading tails.

Trajectories are what ``policy.predict_traj`` returns, (row, column) in [-1, 1] over the whole image: -1 is the outer
edge of the first pixel and 1 that of the last, whatever the size of the picture that is drawn on.
"""

from collections.abc import Sequence

import cv2
import numpy as np

_SHIFT = 4
"""OpenCV takes coordinates as whole numbers with this many fractional bits: a sixteenth of a pixel."""
_FAR = 1 << 24
"""Fixed-point coordinates are kept below this, so that points far outside the image do not overflow."""

_TIME_COLORS = np.array([(254, 231, 76), (255, 143, 60), (240, 60, 110), (170, 60, 230)], np.float32)
"""From the first time step (yellow) to the last (violet): visible on wood, metal and the arm's white alike."""
SAMPLE_COLORS = np.array(
    [(255, 209, 46), (255, 84, 112), (64, 196, 255), (120, 230, 110), (255, 140, 40), (200, 120, 255), (60, 230, 200),
     (255, 150, 200)], np.uint8,
)  # fmt: skip
"""One RGB colour for each sample of a fan; more samples begin again."""


def time_colors(segments: int) -> np.ndarray:
    """(segments, 3) uint8 RGB, one for each step of a trajectory."""
    at = np.linspace(0, len(_TIME_COLORS) - 1, segments)
    return np.stack([np.interp(at, range(len(_TIME_COLORS)), channel) for channel in _TIME_COLORS.T], 1).astype(
        np.uint8
    )


def tail(segments: int, now: float = 0.0, length: float = 8.0) -> np.ndarray:
    """(segments,) opacities: what lies ahead of ``now`` (in steps) is bright, what has passed fades out behind it.

    >>> tail(4, now=2, length=4).round(2)
    array([0.62, 0.88, 1.  , 1.  ])
    """
    age = now - (np.arange(segments) + 0.5)
    return np.clip(1 - age / length, 0, 1)


def moving(points: np.ndarray, size: tuple[int, int], pixels: float = 1.0) -> np.ndarray:
    """(n,) bool: which trajectories (t, n, 2) leave their start by at least ``pixels`` of an image of ``size`` (h, w).

    A quarter of a pixel below counts too, because predicted motion is in whole pixels and rounds.
    """
    distance = np.linalg.norm((points - points[:1]) * (np.array(size) / 2), axis=-1)
    return distance.max(0) >= pixels - 0.25


def to_pixels(points: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(..., 2) (row, column) in [-1, 1] -> (column, row) in pixels of an image of ``size`` (h, w).

    Whole numbers are pixel centres, as OpenCV counts: the middle of an image of 4 x 4 is at 1.5.
    """
    return ((points + 1) * (np.array(size) / 2) - 0.5)[..., ::-1]


def draw_tracks(
    image: np.ndarray,
    points: np.ndarray,
    *,
    colors: np.ndarray | None = None,
    opacity: np.ndarray | None = None,
    thickness: int | None = None,
) -> np.ndarray:
    """A copy of ``image`` (h, w, 3) uint8 with the trajectories ``points`` (t, n, 2), all of them, drawn over it.

    ``colors`` (t - 1, 3) uint8 and ``opacity`` (t - 1,) in [0, 1] are those of the steps from each time to the next;
    by default colours tell the time and all is opaque. Later steps lie above earlier ones.
    """
    height, width, _ = image.shape
    steps = len(points) - 1
    colors = time_colors(steps) if colors is None else colors
    opacity = np.ones(steps) if opacity is None else opacity
    thickness = thickness or max(1, round(min(height, width) / 220))
    fixed = to_pixels(points, (height, width)) * (1 << _SHIFT)
    fixed = np.clip(np.rint(fixed), -_FAR, _FAR).astype(np.int32)
    # Colours are multiplied with their opacity and drawn together with it: anti-aliasing then blends both alike, and
    # what came out is laid over the image at once.
    layer = np.zeros((height, width, 4), np.uint8)
    for step in range(steps):
        alpha = float(opacity[step])
        if alpha <= 0:
            continue
        # Standing still is no line: dropping it keeps round dots from piling up along the way.
        moves = (fixed[step] != fixed[step + 1]).any(-1)
        lines = np.stack([fixed[step, moves], fixed[step + 1, moves]], 1)
        paint = [*(float(channel) * alpha for channel in colors[step]), 255.0 * alpha]
        cv2.polylines(layer, list(lines), False, paint, thickness, cv2.LINE_AA, _SHIFT)
    return _lay_over(image, layer)


def draw_fan(image: np.ndarray, samples: np.ndarray, size: tuple[int, int], most: int = 24) -> np.ndarray:
    """Several predictions (s, t, n, 2) from the same points, each sample in its colour, over ``image`` (h, w, 3).

    Only the ``most`` points that move farthest on average are drawn, of those that move at all in an image of ``size``.
    """
    distance = np.linalg.norm(samples[:, -1] - samples[:, 0], axis=-1).mean(0)
    moves = np.any([moving(points, size) for points in samples], 0)
    chosen = [index for index in np.argsort(-distance)[:most] if moves[index]]
    for number, points in enumerate(samples):
        color = SAMPLE_COLORS[number % len(SAMPLE_COLORS)]
        steps = len(points) - 1
        image = draw_tracks(
            image, points[:, chosen], colors=np.tile(color, (steps, 1)), opacity=np.linspace(0.35, 0.95, steps)
        )
    return image


def token_colors(indices: Sequence[int] | np.ndarray) -> np.ndarray:
    """(k, 3) uint8 RGB: the same code always has the same colour, and neighbouring numbers differ clearly."""
    hue = (np.asarray(indices) * 0.618033988749895 % 1 * 180).astype(np.uint8)
    hsv = np.stack([hue, np.full_like(hue, 130), np.full_like(hue, 225)], -1)
    return cv2.cvtColor(hsv[None], cv2.COLOR_HSV2RGB)[0]


def _lay_over(image: np.ndarray, layer: np.ndarray) -> np.ndarray:
    """``image`` (h, w, 3) under ``layer`` (h, w, 4), whose colours are already multiplied with their opacity."""
    transparency = cv2.cvtColor(255 - layer[..., 3], cv2.COLOR_GRAY2RGB)
    return cv2.add(cv2.multiply(image, transparency, scale=1 / 255), cv2.cvtColor(layer, cv2.COLOR_RGBA2RGB))
