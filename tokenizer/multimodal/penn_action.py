"""Penn Action (Zhang et al., 2013): 2326 videos of people, 13 joints of whom are labelled in each frame."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError
from scipy.io import loadmat

from common.errors import UserError
from tokenizer.multimodal.video import Video, fingerprint_of

PERSON_LINES = ((0, 7, 8), (1, 2), (1, 3), (2, 4), (3, 5), (4, 6), (7, 8), (7, 9), (8, 10), (9, 11), (10, 12))
"""Joints that are joined for drawing, the first with the middle of the others.

0 is the head, then come left and right shoulder, elbow, wrist, hip, knee, ankle."""


class PennAction:
    """``frames/0001/000001.jpg`` and so on, ``labels/0001.mat``; a video is named as its folder is."""

    kind = "penn_action"
    lines: tuple[tuple[int, ...], ...] = PERSON_LINES
    modalities: tuple[str, ...] = ("coords",)

    def __init__(self, folder: Path):
        self.folder = folder
        if not (folder / "frames").is_dir() or not (folder / "labels").is_dir():
            raise UserError(f"{folder} has not the folders frames and labels of Penn Action")

    def names(self) -> list[str]:
        return sorted(path.name for path in (self.folder / "frames").iterdir() if path.is_dir())

    def fingerprint(self, name: str) -> str:
        return fingerprint_of(self._labels(name), *self._images(name))

    def read(self, name: str) -> Video:
        labels, images = self._labels(name), self._images(name)
        if not images:
            raise UserError(f"{self.folder / 'frames' / name} holds no frames (.jpg)")
        if not labels.exists():
            raise UserError(f"{labels} is missing")
        try:
            found = loadmat(labels, squeeze_me=True)
            points = np.stack([found["x"], found["y"]], -1).astype(np.float64).reshape(-1, found["x"].shape[-1], 2)
            visible, count = found["visibility"].reshape(points.shape[:2]) != 0, int(found["nframes"])
        # scipy does not read MATLAB 7.3 files, and says so with NotImplementedError
        except (OSError, ValueError, KeyError, TypeError, NotImplementedError) as error:
            raise UserError(f"{labels} is not of Penn Action ({error})") from None
        if not len(images) == len(points) == count:
            raise UserError(f"{labels}: nframes {count}, joints of {len(points)} frames, and {len(images)} images")
        return Video(name, lambda: _decoded(images), points, visible)

    def _labels(self, name: str) -> Path:
        return self.folder / "labels" / f"{name}.mat"

    def _images(self, name: str) -> list[Path]:
        return sorted((self.folder / "frames" / name).glob("*.jpg"))


def _decoded(images: list[Path]) -> Iterator[np.ndarray]:
    for path in images:
        try:
            with Image.open(path) as image:
                yield np.asarray(image.convert("RGB"))
        except (UnidentifiedImageError, OSError) as error:
            raise UserError(f"{path} cannot be decoded ({error})") from None
