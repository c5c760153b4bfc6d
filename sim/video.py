"""One mp4 per episode, encoded frame by frame while it runs, so that nothing piles up in memory."""

from collections.abc import Generator
from pathlib import Path

import imageio_ffmpeg
import numpy as np


class VideoWriter:
    """Encodes frames ``(h, w, 3)`` uint8 (even sizes) into a hidden file until ``keep`` gives it its name.

    Args:
        path: where the video would go; its folder is made.
        frames_per_second: playing speed.
    """

    def __init__(self, path: Path, frames_per_second: float) -> None:
        self._partial = path.with_name(f".{path.name}.partial.mp4")
        self._frames_per_second = frames_per_second
        self._encoder: Generator[None, np.ndarray | None, None] | None = None

    def add(self, frame: np.ndarray) -> None:
        """Encode one frame; all have the size of the first."""
        if self._encoder is None:
            self._partial.parent.mkdir(parents=True, exist_ok=True)
            height, width, _ = frame.shape
            self._encoder = imageio_ffmpeg.write_frames(
                str(self._partial), (width, height), fps=self._frames_per_second, quality=7, macro_block_size=2
            )
            self._encoder.send(None)
        self._encoder.send(np.ascontiguousarray(frame))

    def keep(self, path: Path) -> None:
        """Finish the video and give it its name."""
        self._finish()
        self._partial.replace(path)

    def discard(self) -> None:
        """Leave no video behind."""
        self._finish()
        self._partial.unlink(missing_ok=True)

    def _finish(self) -> None:
        if self._encoder is not None:
            self._encoder.close()
            self._encoder = None
