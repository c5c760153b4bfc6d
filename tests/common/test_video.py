"""Videos are whole, or not there."""

import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest

from common.video import StreamedVideo, VideoWriter


def write(path: Path, frames: int = 12, gif: bool = False) -> None:
    """A video of noise."""
    rng = np.random.default_rng(0)
    writer = VideoWriter(path, 10.0, gif=gif)
    try:
        for _ in range(frames):
            writer.add(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8))
        writer.keep(path)
    except BaseException:
        writer.discard()
        raise


@pytest.mark.parametrize("name", ["film.mp4", "film.gif"])
def test_a_finished_video_gets_its_name(tmp_path: Path, name: str):
    write(tmp_path / name, gif=name.endswith("gif"))
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", ["film.mp4", "film.gif"])
@pytest.mark.parametrize("frames", [12, 400])
def test_a_video_that_could_not_be_written_to_its_end_is_an_error_and_leaves_nothing(
    tmp_path: Path, name: str, frames: int
):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, before[1]))  # of the encoder too: as if the disk were full
    try:
        with pytest.raises(OSError, match=r"film"):
            write(tmp_path / name, frames, gif=name.endswith("gif"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == []


def test_a_streamed_video_can_be_played_whatever_ends_the_process_that_writes_it(tmp_path: Path):
    path = tmp_path / "film.mp4"
    code = f"""
import os, signal, numpy, pathlib
from common.video import StreamedVideo
video = StreamedVideo(pathlib.Path({str(path)!r}), 20.0)
for number in range(50):
    video.add(numpy.full((48, 64, 3), 4 * number, numpy.uint8))
os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", code]).returncode == -signal.SIGKILL
    deadline = time.monotonic() + 20  # in which the encoder notices
    while frames_of(path) < 50 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert frames_of(path) == 50


def test_a_streamed_video_is_there_while_it_is_written(tmp_path: Path):
    path = tmp_path / "film.mp4"
    video = StreamedVideo(path, 20.0)
    deadline, frames = time.monotonic() + 20, 0
    while frames == 0 and time.monotonic() < deadline:
        for _ in range(40):
            video.add(np.zeros((48, 64, 3), np.uint8))
        frames = frames_of(path)
    video.close()
    assert 0 < frames < frames_of(path)


def frames_of(path: Path) -> int:
    """How many frames can be played."""
    try:
        frames = imageio_ffmpeg.read_frames(str(path))
        next(frames)  # what is said about the video
        return sum(1 for _ in frames)
    except (OSError, RuntimeError, StopIteration):
        return 0
