"""Videos, encoded frame by frame as they come, so that nothing piles up in memory: MP4 (H.264) and GIF."""

import errno
import os
import shutil
import subprocess
from collections.abc import Generator, Iterable
from pathlib import Path
from typing import Any

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
# Fragments, each of which can be played as soon as it is written; quick enough for cameras beside a control loop.
_STREAM = [
    *("-an", "-vcodec", "libx264", "-pix_fmt", "yuv420p", "-vf", "scale=ceil(iw/2)*2:ceil(ih/2)*2"),
    *("-preset", "ultrafast", "-crf", "18", "-tune", "zerolatency", "-g", "20"),
    *("-movflags", "+frag_keyframe+empty_moov+default_base_moof", "-flush_packets", "1"),
]
_ROOM = 2**20
"""A disk with less than this (bytes) left is full, when a video could not be written."""


_Encoder = Generator[None, np.ndarray | None, None]


def _started(path: Path, frame: np.ndarray, frames_per_second: float, options: dict[str, Any]) -> _Encoder:
    """An encoder of frames such as this one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width, _ = frame.shape
    encoder = imageio_ffmpeg.write_frames(
        str(path), (width, height), fps=frames_per_second, macro_block_size=2, ffmpeg_log_level="quiet", **options
    )
    encoder.send(None)
    return encoder


def _encode(encoder: _Encoder, frame: np.ndarray, path: Path) -> None:
    try:
        encoder.send(np.ascontiguousarray(frame))
    except OSError as error:
        raise _not_written(path) from error


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
        self._encoder: _Encoder | None = None

    def add(self, frame: np.ndarray) -> None:
        """Encode one frame; all have the size of the first.

        Raises:
            OSError: the encoder has ended, most likely because the disk is full.
        """
        if self._encoder is None:
            self._encoder = _started(self._partial, frame, self._frames_per_second, self._options)
        _encode(self._encoder, frame, self._partial)

    def keep(self, path: Path) -> None:
        """Finish the video and give it its name.

        Raises:
            OSError: it is not whole, most likely because the disk is full.
        """
        self._finish()
        if not _whole(self._partial):
            self._partial.unlink(missing_ok=True)
            raise _not_written(path)
        self._partial.replace(path)

    def discard(self) -> None:
        """Leave no video behind."""
        self._finish()
        self._partial.unlink(missing_ok=True)

    def _finish(self) -> None:
        if self._encoder is not None:
            self._encoder.close()
            self._encoder = None


class StreamedVideo:
    """Encodes frames ``(h, w, 3)`` uint8 straight into ``path``: whatever ends this process, what it has added can be
    played, and what ends the machine costs a second.

    Args:
        path: an MP4; its folder is made.
        frames_per_second: playing speed.
    """

    def __init__(self, path: Path, frames_per_second: float) -> None:
        self._path, self._frames_per_second = path, frames_per_second
        self._encoder: subprocess.Popen[bytes] | None = None

    def add(self, frame: np.ndarray) -> None:
        """Encode one frame; all have the size of the first.

        Raises:
            OSError: the encoder has ended, most likely because the disk is full.
        """
        if self._encoder is None:
            self._encoder = self._started(*frame.shape[:2])
        pipe = self._encoder.stdin
        assert pipe is not None
        left = np.ascontiguousarray(frame).data.cast("B")
        try:
            while left:
                left = left[pipe.write(left) :]
        except OSError as error:
            raise _not_written(self._path) from error

    def close(self) -> None:
        """Write what the encoder still holds."""
        if self._encoder is not None:
            self._encoder.communicate()
            self._encoder = None

    def _started(self, height: int, width: int) -> subprocess.Popen[bytes]:
        """An encoder that has every frame whole as soon as it is added, and that no Ctrl-C of a terminal ends.

        imageio-ffmpeg would keep the end of a frame in this process until the next one comes.
        """
        self._path.parent.mkdir(parents=True, exist_ok=True)
        raw = ("-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", str(self._frames_per_second))
        ffmpeg = [imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "quiet", "-y"]
        command = [*ffmpeg, *raw, "-i", "-", *_STREAM, str(self._path)]
        return subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, bufsize=0, start_new_session=True
        )


def write_video(path: Path, frames: Iterable[np.ndarray], frames_per_second: float) -> None:
    """An MP4 of frames ``(h, w, 3)`` uint8, which need not be known beforehand: whole, or not there at all.

    Raises:
        OSError: it could not be written, most likely because the disk is full.
    """
    writer = VideoWriter(path, frames_per_second)
    try:
        for frame in frames:
            writer.add(frame)
    except BaseException:
        writer.discard()
        raise
    writer.keep(path)


def _whole(video: Path) -> bool:
    """Whether the encoder has come to its end: an MP4 has its index in front then, a GIF ends with its trailer."""
    try:
        with open(video, "rb") as file:
            start = file.read(64)
            if video.suffix == ".mp4":
                return b"moov" in start
            file.seek(-1, os.SEEK_END)
            return file.read() == b";"
    except OSError:
        return False


def _not_written(path: Path) -> OSError:
    reason = errno.ENOSPC if shutil.disk_usage(path.parent).free < _ROOM else errno.EIO
    return OSError(reason, os.strerror(reason), str(path))
