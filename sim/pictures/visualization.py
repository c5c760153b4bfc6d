"""Draws what a policy predicts along a clip, into files: a sheet of moments, films, a Rerun recording, the numbers."""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Generic, TypeVar

from PIL import Image

from common.conventions import CONTROL_FREQUENCY
from common.errors import UserError
from common.files import replacing
from common.video import VideoWriter
from sim.pictures.inputs import Clip, Frame
from sim.pictures.predictions import Prediction, Predictor, mean_metrics
from sim.pictures.rerun_recording import RerunRecording
from sim.pictures.sheet import Sheet

Item = TypeVar("Item")
FORMATS = ("png", "mp4", "gif", "rrd")
MOMENTS = 5
"""Rows of a sheet."""
GIF_EVERY = 4
"""A GIF shows every fourth frame."""


def visualize(
    clip: Clip,
    predictor: Predictor,
    out: Path,
    *,
    formats: tuple[str, ...] = ("png", "mp4", "rrd"),
    every: int = 8,
    side: int = 256,
) -> tuple[Path, dict[str, float]]:
    """Write the pictures of ``clip`` into a new folder below ``out``.

    Args:
        predictor: asked at every ``every``-th frame.
        formats: some of ``FORMATS``; of a still picture no film is made.
        side: pixels of a panel.

    Returns:
        The folder, and the mean of the metrics (empty without true tracks).
    """
    policy = predictor.policy
    about = policy.describe()
    title = f"{clip.name}   {about.get('name', '')} {str(about.get('hash', ''))[:12]}"
    sheet = Sheet(title, clip.text, policy.views, policy.image_size, side)
    moments: EvenlySpaced[tuple[int, Frame, Prediction]] = EvenlySpaced(MOMENTS)
    windows: list[Prediction] = []
    with new_folder(out, clip.name) as folder, ExitStack() as writers:
        sinks: list[Callable[[int, Frame, Prediction], None]] = []
        if "rrd" in formats:
            recording = RerunRecording(folder / "recording.rrd", title, policy.views, policy.image_size)
            sinks.append(writers.enter_context(closing(recording)).add)
        if not clip.still:
            for kind in ("mp4", "gif"):
                if kind in formats:
                    sinks.append(writers.enter_context(_film(sheet, folder, kind)))
        step = -1
        for step, frame in enumerate(clip.frames()):
            if step % every == 0:
                prediction = predictor(step, frame)
                windows.append(prediction)
                moments.add((step, frame, prediction))
            for sink in sinks:
                sink(step, frame, prediction)
        if step < 0:
            raise UserError(f"{clip.name} has no frames")
        if "png" in formats:
            _save_png(folder / "sheet.png", sheet, moments.items())
        metrics = mean_metrics([window.metrics for window in windows])
        summary = {
            "text": clip.text,
            "policy": about,
            "notes": clip.notes,
            "metrics": metrics,
            "windows": [{"step": w.step, "codes": w.codes.tolist(), "metrics": w.metrics} for w in windows],
        }
        with replacing(folder / "predictions.json") as temporary:
            temporary.write_text(json.dumps(summary, indent=1) + "\n")
    return folder, metrics


class EvenlySpaced(Generic[Item]):
    """Keeps about evenly spread items of a stream whose length nobody knows, never more than twice ``number``."""

    def __init__(self, number: int) -> None:
        self._number, self._stride, self._seen = number, 1, 0
        self._items: list[Item] = []

    def add(self, item: Item) -> None:
        """The next item of the stream."""
        if self._seen % self._stride == 0:
            self._items.append(item)
            if len(self._items) == 2 * self._number:
                self._items, self._stride = self._items[::2], 2 * self._stride
        self._seen += 1

    def items(self) -> list[Item]:
        """At most ``number`` of the items, the first and about the last among them."""
        count = len(self._items)
        if count <= self._number:
            return self._items
        return [self._items[round(i * (count - 1) / (self._number - 1))] for i in range(self._number)]


@contextmanager
def new_folder(out: Path, name: str) -> Iterator[Path]:
    """A folder that nobody has used: ``out/name``, or ``out/name-2`` and so on; removed again if the block raises."""
    out.mkdir(parents=True, exist_ok=True)
    number = 1
    while True:
        folder = out / (name if number == 1 else f"{name}-{number}")
        try:
            folder.mkdir()  # whoever makes it, owns it
            break
        except FileExistsError:
            number += 1
    try:
        yield folder
    except BaseException:
        shutil.rmtree(folder)
        raise


@contextmanager
def _film(sheet: Sheet, folder: Path, kind: str) -> Iterator[Callable[[int, Frame, Prediction], None]]:
    every = GIF_EVERY if kind == "gif" else 1
    writer = VideoWriter(folder / "video", CONTROL_FREQUENCY / every, gif=kind == "gif")

    def add(step: int, frame: Frame, prediction: Prediction) -> None:
        if step % every == 0:
            writer.add(sheet.film_frame(step, frame, prediction))

    try:
        yield add
    except BaseException:
        writer.discard()
        raise
    writer.keep(folder / f"video.{kind}")


def _save_png(path: Path, sheet: Sheet, moments: list[tuple[int, Frame, Prediction]]) -> None:
    with replacing(path) as temporary:
        Image.fromarray(sheet.picture(moments)).save(temporary, "PNG")
