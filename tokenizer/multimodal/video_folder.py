"""A folder of videos, with joints and captions beside them where there are any."""

from collections.abc import Iterator
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from common.errors import UserError
from tokenizer.multimodal.video import Video, fingerprint_of

SUFFIXES = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".gif")


class VideoFolder:
    """``NAME.mp4`` (or another of ``SUFFIXES``), beside it ``NAME.txt`` with its caption, and ``NAME.npz`` with
    ``points`` (t, j, 2) in pixels and ``visible`` (t, j); ``lines.txt`` has pairs of joints to join when drawing."""

    def __init__(self, folder: Path):
        if not folder.is_dir():
            raise UserError(f"there is no folder {folder}; give one with videos ({', '.join(SUFFIXES)})")
        self.folder = folder
        self._files = {path.name: path for path in sorted(folder.iterdir()) if path.suffix.lower() in SUFFIXES}
        if not self._files:
            raise UserError(f"{folder} holds no videos ({', '.join(SUFFIXES)})")
        self.kind = "folder"
        there = {"coords": ".npz", "captions": ".txt"}
        self.modalities = tuple(
            name
            for name, suffix in there.items()
            if any(path.with_suffix(suffix).exists() for path in self._files.values())
        )
        self.lines: tuple[tuple[int, ...], ...] = _lines(folder / "lines.txt")

    def names(self) -> list[str]:
        return list(self._files)

    def fingerprint(self, name: str) -> str:
        path = self._files[name]
        return fingerprint_of(path, path.with_suffix(".npz"), path.with_suffix(".txt"))

    def read(self, name: str) -> Video:
        path = self._files[name]
        labels, text = path.with_suffix(".npz"), path.with_suffix(".txt")
        points = visible = None
        if labels.exists():
            try:
                with np.load(labels, allow_pickle=False) as found:
                    points, visible = found["points"].astype(np.float64), found["visible"] != 0
            except (OSError, EOFError, ValueError, KeyError, TypeError, AttributeError, BadZipFile) as error:
                raise UserError(f"{labels} has no arrays points and visible ({error})") from None
            if points.ndim != 3 or points.shape[2] != 2 or visible.shape != points.shape[:2]:
                raise UserError(f"{labels}: points {points.shape} must be (t, j, 2), visible {visible.shape} (t, j)")
        try:
            caption = text.read_text(encoding="utf-8").strip() if text.exists() else None
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"{text} is no text in UTF-8 ({error}); write it again") from None
        return Video(name, lambda: decoded(path), points, visible, caption)


def _lines(path: Path) -> tuple[tuple[int, ...], ...]:
    """Pairs of joints, one a line; none without the file.

    Raises:
        UserError: a line is something else.
    """
    if not path.exists():
        return ()
    try:
        pairs = np.loadtxt(path, dtype=np.int64, ndmin=2)
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({error}); write two numbers of joints on each line") from None
    if pairs.size and (pairs.shape[1] != 2 or pairs.min() < 0):
        raise UserError(f"{path}: each line must have two numbers of joints, from 0 on")
    return tuple(map(tuple, pairs.tolist()))


def decoded(path: Path) -> Iterator[np.ndarray]:
    """The frames (h, w, 3) uint8 RGB of a video, one after the other.

    Raises:
        UserError: it cannot be decoded.
    """
    import cv2

    video = cv2.VideoCapture(str(path))
    try:
        count = 0
        while (frame := video.read()[1]) is not None:
            count += 1
            yield cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
        if not count:
            raise UserError(f"{path} cannot be decoded; is it a whole video?")
    finally:
        video.release()
