"""Pictures of a tokenizer's work: true motion and what became of it, side by side over the image it starts from."""

import numpy as np
from PIL import Image, ImageDraw

SIDE, GAP = 192, 4
"""Pixels: of a panel, and between panels."""
_SHORTEST = 3
"""Pixels of the shortest path that is drawn."""
_TRUE, _PREDICTED = (80, 220, 100), (255, 150, 40)


def _panel(image: np.ndarray, path: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    """(h, w, 3) uint8 and paths (t, n, 2), (row, col) in [-1, 1] -> (SIDE, SIDE, 3) with the paths that move."""
    picture = Image.fromarray(image).resize((SIDE, SIDE)).point(lambda value: value // 2)
    draw = ImageDraw.Draw(picture)
    pixels = (path + 1) / 2 * SIDE
    moved = np.linalg.norm(np.diff(pixels, axis=0), axis=-1).sum(0) > _SHORTEST
    for track in np.flatnonzero(moved):
        line = [(float(column), float(row)) for row, column in pixels[:, track]]
        draw.line(line, fill=colour)
        x, y = line[-1]
        draw.ellipse((x - 1.5, y - 1.5, x + 1.5, y + 1.5), fill=colour)
    return np.asarray(picture)


def overlay(images: np.ndarray, truth: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Images (b, v, h, w, 3) uint8, trajectories (b, v, t, n, 2) -> one picture (h, w, 3) uint8.

    A row a sample; of every view the true motion on the left (green), the predicted one on the right (orange).
    """
    samples, views = truth.shape[:2]
    step = SIDE + GAP
    sheet = np.full((samples * step - GAP, 2 * views * step - GAP, 3), 255, np.uint8)
    for i in range(samples):
        for v in range(views):
            for side, (points, colour) in enumerate(((truth, _TRUE), (predicted, _PREDICTED))):
                top, left = i * step, (2 * v + side) * step
                sheet[top : top + SIDE, left : left + SIDE] = _panel(images[i, v], points[i, v], colour)
    return sheet
