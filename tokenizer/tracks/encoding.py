"""The codes of the motion that follows each frame of a dataset, in memory and as files."""

from itertools import groupby
from pathlib import Path

import h5py
import numpy as np
import torch
from torch import Tensor

from common.errors import UserError
from common.files import replacing
from demos.dataset import EpisodeRef, FrameDataset
from tokenizer.tracks.evaluation import encoder_inputs_at
from tokenizer.tracks.model import MotionTokenizer
from tokenizer.tracks.motion import points_to_velocities

BATCH = 256


@torch.no_grad()
def codes_of_frames(model: MotionTokenizer, frames: FrameDataset, indices: np.ndarray) -> Tensor:
    """Frame numbers (b,) -> (b, s) int64: the codes of the motion after each of these frames."""
    points, images = encoder_inputs_at(model, frames, indices)
    return model.encode(points_to_velocities(points), images)[1]


def tasks_of(frames: FrameDataset) -> list[list[EpisodeRef]]:
    """The chosen episodes, those of one demonstration file together."""
    return [list(episodes) for _, episodes in groupby(frames.episodes, lambda episode: episode.file)]


def codes_file(out: Path, demonstrations: Path) -> Path:
    """Where the codes of a demonstration file belong: ``out/SUITE/TASK_codes.hdf5``."""
    return out / demonstrations.parent.name / f"{demonstrations.stem.removesuffix('_demo')}_codes.hdf5"


def is_written(path: Path, digest: str, episodes: list[EpisodeRef]) -> bool:
    """Whether the file is there and holds all of these episodes.

    Raises:
        UserError: it is of another tokenizer, or cannot be read.
    """
    if not path.exists():
        return False
    try:
        with h5py.File(path) as file:
            found, names = file.attrs["tokenizer"], set(file["data"])
    except (OSError, KeyError) as error:
        raise UserError(f"{path} is no file of codes ({error}); delete it, or choose another --out") from None
    if found != digest:
        raise UserError(f"{path} is of the tokenizer {found}, not of {digest}; choose another --out")
    return {f"demo_{episode.index}" for episode in episodes} <= names


def write_codes(
    path: Path, model: MotionTokenizer, digest: str, frames: FrameDataset, of_task: list[EpisodeRef]
) -> int:
    """Writes ``data/demo_k/codes`` (steps, s) uint16 of one task's episodes; returns how many frames that are.

    Codes are numbers below ``codebook_size``; ``tokenizer`` is the digest of the checkpoint they are of.
    """
    with replacing(path) as temporary, h5py.File(temporary, "w") as file:
        file.attrs["tokenizer"] = digest
        file.attrs["codebook_size"] = model.config.actual_codebook_size
        file.attrs["demonstrations"] = of_task[0].file.name
        for episode in of_task:
            numbers = np.arange(episode.first_frame, episode.first_frame + episode.steps)
            parts = [numbers[start : start + BATCH] for start in range(0, len(numbers), BATCH)]
            codes = np.concatenate([codes_of_frames(model, frames, part).cpu().numpy() for part in parts])
            file.create_dataset(f"data/demo_{episode.index}/codes", data=codes.astype(np.uint16), compression="gzip")
    return sum(episode.steps for episode in of_task)
