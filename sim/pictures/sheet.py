"""Puts one moment of a clip on a picture: each view with predicted and true motion, the codes, the numbers."""

import colorsys
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from common.conventions import CONTROL_FREQUENCY
from sim.pictures.inputs import Frame, resize
from sim.pictures.overlay import draw_fan, draw_tracks, moving, tail, token_colors
from sim.pictures.predictions import Prediction
from tokenizer.tracks.metrics import STILL

BACKGROUND, INK, FAINT = (20, 22, 27), (236, 238, 242), (150, 156, 168)
GAP, CAPTION, STRIP, LINE, HEADER = 8, 20, 24, 20, 52
"""Pixels: between panels, of a panel's caption, of the strip of codes, of a line of text, of the header."""
SHOWN_METRICS = {
    "mse": "mse {:.4f}",
    "normalized_accuracy": "within half a pixel {:.0%}",
    "delta_auc": "dAUC {:.3f}",
    "nonzero_pred_f1": "moving F1 {:.2f}",
    "best_sample_mse": "best sample mse {:.4f}",
}


@lru_cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


class Sheet:
    """Lays out moments of one clip; every picture of a clip has the same size, with even sides as H.264 wants them.

    Args:
        views: names of the views.
        image_size: (height, width) of the images the policy was made for; its pixels decide what moves.
        side: pixels of each panel.
    """

    def __init__(self, title: str, text: str, views: Sequence[str], image_size: tuple[int, int], side: int) -> None:
        self._title, self._text, self._views, self._size, self._side = title, text, views, image_size, side
        self._strip: tuple[Prediction, np.ndarray] | None = None

    def film_frame(self, step: int, frame: Frame, prediction: Prediction) -> np.ndarray:
        """One picture of the film: header, panels, codes; the motion predicted at ``prediction.step`` as of now."""
        return np.concatenate([self._header(prediction), self.row(step, frame, prediction)])

    def picture(self, moments: Sequence[tuple[int, Frame, Prediction]]) -> np.ndarray:
        """Some moments below each other, (h, w, 3) uint8."""
        rows = [self.row(step, frame, prediction) for step, frame, prediction in moments]
        return np.concatenate([self._header(moments[0][2]), *rows])

    def row(self, step: int, frame: Frame, prediction: Prediction) -> np.ndarray:
        """Panels of all views, and below them codes and metrics: (h, w, 3) uint8."""
        panels = self._panels(step, frame, prediction)
        columns = len(panels)
        width = self._width(columns)
        canvas = np.full((CAPTION + self._side + GAP, width, 3), BACKGROUND, np.uint8)
        for column, panel in enumerate(panels):
            left = GAP + column * (self._side + GAP)
            canvas[CAPTION : CAPTION + self._side, left : left + self._side] = panel
        if self._strip is None or self._strip[0] is not prediction:
            self._strip = prediction, self._notes(prediction, width)
        strip = self._strip[1].copy()
        at = step - prediction.step
        if at < len(prediction.codes):  # a mark under the code that stands for the present step
            cell = (width - 2 * GAP) / len(prediction.codes)
            left = GAP + round(at * cell)
            strip[STRIP : STRIP + 3, left : left + round(cell)] = INK
        caption = self._captions(tuple(self._labels(prediction)), width)
        canvas[:CAPTION] = caption
        return np.concatenate([canvas, strip])

    def _panels(self, step: int, frame: Frame, prediction: Prediction) -> list[np.ndarray]:
        opacity = tail(prediction.points.shape[1] - 1, now=step - prediction.step)
        panels = []
        for view, image in enumerate(frame.images):
            large = resize(image, self._side)
            for points in (prediction.points, prediction.truth):
                if points is not None:
                    chosen = points[view][:, moving(points[view], self._size)]
                    panels.append(draw_tracks(large, chosen, opacity=opacity))
            if prediction.samples is not None:
                panels.append(draw_fan(large, prediction.samples[:, view], self._size))
        return panels

    def _labels(self, prediction: Prediction) -> list[str]:
        kinds = ["predicted", *(["true"] if prediction.truth is not None else [])]
        if prediction.samples is not None:
            kinds.append(f"{len(prediction.samples)} samples")
        return [f"{view}: {kind}" for view in self._views for kind in kinds]

    def _width(self, columns: int) -> int:
        width = GAP + columns * (self._side + GAP)
        return width + width % 2

    def _header(self, prediction: Prediction) -> np.ndarray:
        return self._text_block(self._width(len(self._labels(prediction))))

    @lru_cache(maxsize=4)  # noqa: B019 - a sheet lives as long as its clip
    def _text_block(self, width: int) -> np.ndarray:
        image = Image.new("RGB", (width, HEADER), BACKGROUND)
        draw = ImageDraw.Draw(image)
        draw.text((GAP, 6), _fit(self._text, width - 2 * GAP, 18), INK, _font(18))
        draw.text((GAP, 30), _fit(self._title, width - 2 * GAP, 13), FAINT, _font(13))
        return np.asarray(image)

    @lru_cache(maxsize=4)  # noqa: B019
    def _captions(self, labels: tuple[str, ...], width: int) -> np.ndarray:
        image = Image.new("RGB", (width, CAPTION), BACKGROUND)
        draw = ImageDraw.Draw(image)
        for column, label in enumerate(labels):
            draw.text((GAP + column * (self._side + GAP), 3), _fit(label, self._side, 13), FAINT, _font(13))
        return np.asarray(image)

    def _notes(self, prediction: Prediction, width: int) -> np.ndarray:
        """The codes as coloured cells, time and metrics below, (h, w, 3)."""
        height = STRIP + 6 + LINE + GAP
        image = Image.new("RGB", (width, height + height % 2), BACKGROUND)
        draw = ImageDraw.Draw(image)
        cell = (width - 2 * GAP) / len(prediction.codes)
        for place, (code, color) in enumerate(zip(prediction.codes, token_colors(prediction.codes), strict=True)):
            left = GAP + place * cell
            draw.rectangle((left, 0, left + cell - 2, STRIP - 2), tuple(map(int, color)))
            dark = colorsys.rgb_to_yiq(*color / 255)[0] > 0.5
            draw.text((left + cell / 2, STRIP / 2), str(code), (0, 0, 0) if dark else INK, _font(11), anchor="mm")
        line = [f"step {prediction.step}", f"{prediction.step / CONTROL_FREQUENCY:.2f} s"]
        for name, form in SHOWN_METRICS.items():
            if name in prediction.metrics:
                label, still = form.format(prediction.metrics[name]), prediction.metrics.get(STILL + name)
                line.append(label if still is None else f"{label} (still {form.split()[-1].format(still)})")
        draw.text((GAP, STRIP + 6), _fit("   ".join(line), width - 2 * GAP, 13), INK, _font(13))
        return np.asarray(image)


def _fit(text: str, width: int, size: int) -> str:
    """``text``, cut off where it does not fit into ``width`` pixels."""
    font = _font(size)
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[:-1]
    return text + "…"
