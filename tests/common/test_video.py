"""Videos are whole, or not there."""

import resource
from pathlib import Path

import numpy as np
import pytest

from common.video import VideoWriter


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
