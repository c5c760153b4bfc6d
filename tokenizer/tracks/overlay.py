"""Pictures of a tokenizer's work: true motion and what became of it, side by side over the image it starts from."""

import numpy as np
from PIL import Image, ImageDraw, ImageFont

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


def contact_sheet(images: np.ndarray, tracks: np.ndarray, captions: list[str]) -> np.ndarray:
    """Images (b, v, h, w, 3) uint8, trajectories (b, v, t, n, 2), a caption a row -> one picture (h, w, 3) uint8.

    A row a sample: each view with the true motion.
    """
    samples, views = tracks.shape[:2]
    step, margin = SIDE + GAP, 70
    sheet = Image.new("RGB", (margin + views * step - GAP, samples * step - GAP), (255, 255, 255))
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(14)
    for i in range(samples):
        draw.text((GAP, i * step + GAP), captions[i], fill=(40, 40, 45), font=font)
        for v in range(views):
            panel = Image.fromarray(_panel(images[i, v], tracks[i, v], _TRUE))
            sheet.paste(panel, (margin + v * step, i * step))
    return np.asarray(sheet)
