"""Tracks of a whole dataset in one memory-mapped file of 16-bit numbers, so that training reads them at random quickly.

Reading a frame from the HDF5 files inflates its tracks and their visibility, which training does not look at. Here a
frame is 50 kB that lie together: (frames, v, t, n, 2) int16, (row, col) in steps of 1 / 32,767 of [-1, 1], which is
.002 pixels of 128. The file is made once, from the files as they are, and again when one of them has changed.
"""

import hashlib
import json
import multiprocessing
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from math import ceil
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track

from common.files import check_room, fingerprint, locked, replacing
from demos.dataset import FrameDataset

STEPS = 32767
"""Of [0, 1]."""
READ_AT_ONCE = 64
_WORTH_PROCESSES = 2000
"""So many frames take longer to read than processes take to start."""


def pack(points: np.ndarray) -> np.ndarray:
    """Float points in [-1, 1] -> int16."""
    return np.rint(points * STEPS).astype(np.int16)


def unpack(packed: np.ndarray) -> np.ndarray:
    """int16 -> float32 points in [-1, 1]; at most half a step from what was packed."""
    points = packed.astype(np.float32)
    points *= np.float32(1 / STEPS)
    return points


class PackedTracks:
    """The tracks of all frames of ``frames``, which has to load them; the file lies in ``folder``.

    Raises:
        UserError: a track file is missing or damaged.
        OSError: the file cannot be written, or does not fit on the disk.
    """

    def __init__(self, frames: FrameDataset, folder: Path) -> None:
        self.path = folder / f"tracks-{_identity(frames)}.npy"
        with locked(self.path.with_suffix(".lock")):  # of several processes one writes, the others wait
            if not self.path.exists():
                _write(frames, self.path)
        self._packed = np.load(self.path, mmap_mode="r", allow_pickle=False)

    def __len__(self) -> int:
        return len(self._packed)

    def tracks_in_batch(self, indices: np.ndarray) -> np.ndarray:
        """Frame numbers (b,) -> the tracks that start there, (b, v, t, n, 2) float32, (row, col) in [-1, 1]."""
        return unpack(self._packed[indices])


def _identity(frames: FrameDataset) -> str:
    """Of what the file holds: changes with the episodes, their files, and how tracks are read."""
    how = [list(frames.views), frames.action_horizon, frames.track_horizon, frames.interpolation]
    files = [[*fingerprint(episode.tracks), episode.steps] for episode in frames.episodes]
    return hashlib.sha256(json.dumps([how, files]).encode()).hexdigest()[:24]


def _write(frames: FrameDataset, path: Path) -> None:
    first = frames.tracks_in_batch(np.array([0]))
    console = Console(stderr=True)
    size = first.nbytes // 2 * len(frames)
    check_room(path.parent, size)
    print(f"tracks of {len(frames)} frames: writing {size / 1e9:.2g} GB to {path}")
    total = ceil(len(frames) / READ_AT_ONCE)
    header = {"descr": "<i2", "fortran_order": False, "shape": (len(frames), *first.shape[1:])}
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        parts = _packed_parts(frames)
        for part in track(parts, "tracks", total, console=console, disable=not console.is_terminal):
            part.tofile(file)


def _packed_parts(frames: FrameDataset) -> Iterator[np.ndarray]:
    """The packed tracks of all frames, some at a time; of many frames all cores read, since most time goes into
    inflating files."""
    if len(frames) < _WORTH_PROCESSES:
        yield from (_packed(frames, part) for part in _parts(len(frames)))
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(len(os.sched_getaffinity(0)), context) as pool:
        yield from pool.map(partial(_packed, frames), _parts(len(frames)), chunksize=4)


def _packed(frames: FrameDataset, indices: np.ndarray) -> np.ndarray:
    return pack(frames.tracks_in_batch(indices)).astype("<i2", copy=False)


def _parts(count: int) -> Iterator[np.ndarray]:
    for start in range(0, count, READ_AT_ONCE):
        yield np.arange(start, min(start + READ_AT_ONCE, count))
