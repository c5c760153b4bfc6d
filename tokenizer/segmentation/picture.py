"""A picture of how a demonstration was cut: some of its images, its energy, the cuts, and the true actions below."""

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from demos.phases import Segment
from tokenizer.segmentation.episodes import Series

WIDTH, IMAGE, CURVE, BAR, MARGIN = 1200, 110, 150, 24, 10
"""Pixels: of the picture, of an image, heights of the curve and of a bar, and between them."""
INK, FAINT, LINE = (40, 40, 45), (205, 205, 210), (30, 110, 200)
FOUND, TRUE = (255, 150, 40), (80, 190, 100)


def picture(series: Series, images: np.ndarray, threshold: float, found: list[Segment], title: str) -> np.ndarray:
    """Images (k, h, w, 3) uint8 at evenly spread moments -> (h, w, 3) uint8."""
    bars = 1 + (series.true is not None)
    height = 4 * MARGIN + 14 + IMAGE + CURVE + bars * (BAR + MARGIN)
    canvas = Image.new("RGB", (WIDTH, height), (255, 255, 255))
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(12)
    inner = WIDTH - 2 * MARGIN

    def x(seconds: float) -> float:
        return MARGIN + inner * seconds / series.duration

    draw.text((MARGIN, 4), title, fill=INK, font=font)
    top = 14 + MARGIN
    for i, image in enumerate(images):
        left = MARGIN + round(i * (inner - IMAGE) / max(len(images) - 1, 1))
        canvas.paste(Image.fromarray(image).resize((IMAGE, IMAGE)), (left, top))
    top += IMAGE + MARGIN
    highest = max(float(series.energy.max()), threshold, 1e-9)

    def y(energy: float) -> float:
        return top + CURVE * (1 - energy / highest)

    draw.line([(MARGIN, y(threshold)), (WIDTH - MARGIN, y(threshold))], fill=FAINT)
    times = np.linspace(0, series.duration, len(series.energy), endpoint=False)
    points = [(x(time), y(energy)) for time, energy in zip(times, series.energy, strict=True)]
    draw.line(points, fill=LINE, width=2)
    top += CURVE + MARGIN
    rows = [(FOUND, [(f"{segment.start:.1f} s", segment) for segment in found])]
    if series.true is not None:
        rows.append((TRUE, series.true))
    for colour, segments in rows:
        for name, segment in segments:
            draw.rectangle((x(segment.start), top, x(segment.end) - 2, top + BAR), fill=colour)
            if x(segment.end) - x(segment.start) > font.getlength(name) + 6:
                draw.text((x(segment.start) + 4, top + 5), name, fill=INK, font=font)
        top += BAR + MARGIN
    return np.asarray(canvas)
