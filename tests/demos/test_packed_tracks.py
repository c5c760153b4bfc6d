"""Tracks of a dataset in one memory-mapped file."""

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from demos.dataset import FrameDataset
from demos.packed_tracks import STEPS, PackedTracks, pack, unpack
from tests.policy.tiny import make_data


@pytest.fixture
def root(tmp_path: Path) -> Path:
    make_data(tmp_path)
    return tmp_path


def frames_of(root: Path, spec: str = "[tiny:traj1]") -> FrameDataset:
    return FrameDataset(spec, root=root / "demos", tracks_root=root / "tracks", keys={"tracks"})


@given(arrays(np.float32, (5, 2), elements=st.floats(-1, 1, width=32)))
def test_points_come_back_within_half_a_step(points: np.ndarray) -> None:
    assert np.abs(unpack(pack(points)) - points).max() <= 0.5 / STEPS + 1e-7


def test_a_batch_is_what_the_files_hold(root: Path) -> None:
    frames = frames_of(root)
    packed = PackedTracks(frames, root / "cache")
    indices = np.array([len(frames) - 1, 0, 7, 7])
    found = packed.tracks_in_batch(indices)
    assert len(packed) == len(frames)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, frames.frames_in_batch(indices)["tracks"], atol=0.5 / STEPS + 1e-7)


def test_it_is_made_once_and_again_when_a_file_has_changed(root: Path) -> None:
    path = PackedTracks(frames_of(root), root / "cache").path
    made = path.stat().st_mtime_ns
    assert PackedTracks(frames_of(root), root / "cache").path.stat().st_mtime_ns == made
    changed = frames_of(root).episodes[0].tracks
    os.utime(changed, ns=(changed.stat().st_atime_ns, changed.stat().st_mtime_ns + 1))
    assert PackedTracks(frames_of(root), root / "cache").path != path
    assert PackedTracks(frames_of(root, "[tiny:traj0.5]"), root / "cache").path != path


def test_what_was_interrupted_is_made_again(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frames, whole = frames_of(root), frames_of(root)
    reads = iter((True, True, False))

    def read(indices: np.ndarray) -> np.ndarray:
        if not next(reads):
            raise KeyboardInterrupt
        return whole.tracks_in_batch(indices)

    monkeypatch.setattr(frames, "tracks_in_batch", read)
    monkeypatch.setattr("demos.packed_tracks.READ_AT_ONCE", 16)
    with pytest.raises(KeyboardInterrupt):
        PackedTracks(frames, root / "cache")
    assert not list((root / "cache").glob("*.npy"))
    np.testing.assert_allclose(
        PackedTracks(whole, root / "cache").tracks_in_batch(np.array([40])),
        whole.frames_in_batch(np.array([40]))["tracks"],
        atol=1e-4,
    )


def test_several_processes_write_the_same_file(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = PackedTracks(frames_of(root), root / "alone").path.read_bytes()
    monkeypatch.setattr("demos.packed_tracks._WORTH_PROCESSES", 1)
    monkeypatch.setattr("demos.packed_tracks.READ_AT_ONCE", 16)
    assert PackedTracks(frames_of(root), root / "together").path.read_bytes() == alone
