"""Videos, encoded frame by frame as they come, so that nothing piles up in memory: MP4 (H.264) and GIF."""

from collections.abc import Generator
from pathlib import Path

import imageio_ffmpeg
import numpy as np

_GIF = {
    "codec": "gif",
    "pix_fmt_out": "pal8",
    "quality": None,
    # A palette for each frame by itself: the encoder never has to see the whole film. No wider than a web page.
    "output_params": [
        "-filter_complex",
        "scale=min(640\\,iw):-2,split[a][b];[a]palettegen=stats_mode=single[p];[b][p]paletteuse=new=1:dither=none",
    ],
}
# The index in front, so that browsers show the first frame before they have the whole file.
_MP4 = {"quality": 7, "output_params": ["-movflags", "+faststart"]}


class VideoWriter:
    """Encodes frames ``(h, w, 3)`` uint8 (even sizes) into a hidden file until ``keep`` gives it its name.

    Args:
        path: where the video would go; its folder is made.
        frames_per_second: playing speed.
        gif: an animated GIF instead of an MP4.
    """

    def __init__(self, path: Path, frames_per_second: float, *, gif: bool = False) -> None:
        self._partial = path.with_name(f".{path.name}.partial.{'gif' if gif else 'mp4'}")
        self._options = _GIF if gif else _MP4
        self._frames_per_second = frames_per_second
        self._encoder: Generator[None, np.ndarray | None, None] | None = None

    def add(self, frame: np.ndarray) -> None:
        """Encode one frame; all have the size of the first."""
        if self._encoder is None:
            self._partial.parent.mkdir(parents=True, exist_ok=True)
            height, width, _ = frame.shape
            self._encoder = imageio_ffmpeg.write_frames(
                str(self._partial), (width, height), fps=self._frames_per_second, macro_block_size=2,
                ffmpeg_log_level="error", **self._options,
            )  # fmt: skip
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
