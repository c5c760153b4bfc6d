"""Body motion as training samples: windows of features, padded with zeros where a motion is shorter."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor

from demos.body_motion import BodyMotion, BodyMotionError, read_body_motion
from tokenizer.body.features import HEAD, BodyTensors, features_of
from tokenizer.body.options import LATENT_FRAMES

SPLIT_SEED = 42


def tensors_of(motion: BodyMotion) -> BodyTensors:
    """A motion as a batch of one."""
    arrays = (motion.head_position, motion.head_rotation, motion.joint_positions, motion.joint_rotations)
    return BodyTensors(*(torch.from_numpy(array)[None] for array in arrays))


def read_all(files: list[Path]) -> list[BodyMotion]:
    """The motions of files, all of one frame rate.

    Raises:
        BodyMotionError: there is no motion, or they have different frame rates.
    """
    if not files:
        raise BodyMotionError("there is no motion; name folders or files of body motion")
    console = Console(stderr=True)
    shown = track(files, "reading motions", console=console, disable=not console.is_terminal)
    motions = [read_body_motion(file) for file in shown]
    rates = {motion.frame_rate for motion in motions}
    if len(rates) > 1:
        raise BodyMotionError(f"the motions have the frame rates {sorted(rates)}; a tokenizer has one")
    return motions


def features_of_all(motions: list[BodyMotion]) -> list[Tensor]:
    """The features (t, d) of each motion."""
    return [features_of(tensors_of(motion))[0] for motion in motions]


def split(groups: Sequence[str], share: float) -> tuple[list[int], list[int]]:
    """Which samples are for training, and which are held out: the ``share`` (rounded down) of the groups that they
    belong to (one name a sample), drawn alike every time."""
    members: dict[str, list[int]] = {}
    for index, name in enumerate(groups):
        members.setdefault(name, []).append(index)
    names = list(members)
    order = torch.randperm(len(names), generator=torch.Generator().manual_seed(SPLIT_SEED)).tolist()
    held = int(len(names) * share)
    parts = order[: len(names) - held], order[len(names) - held :]
    training, validation = ([index for i in part for index in members[names[i]]] for part in parts)
    return training, validation


class BodyWindows:
    """Windows of ``length`` frames of motions: features (b, length, d), and which frames are valid, (b, length)."""

    def __init__(self, motions: list[BodyMotion], length: int):
        self.length = length
        self.features = features_of_all(motions)

    def __len__(self) -> int:
        return len(self.features)

    def windows(self, indices: np.ndarray, rng: np.random.Generator | None = None) -> tuple[Tensor, Tensor]:
        """Of the motions of these numbers, their first frames, or with ``rng`` windows that begin anywhere.

        A window's first frame has no change, as the first of a motion has not.
        """
        batch = torch.zeros(len(indices), self.length, self.features[0].shape[-1])
        valid = torch.zeros(len(indices), self.length)
        for row, index in enumerate(indices):
            features = self.features[index]
            start = 0 if rng is None else int(rng.integers(max(len(features) - self.length, 0) + 1))
            part = features[start : start + self.length]
            batch[row, : len(part)] = part
            if start:
                batch[row, 0] = _beginning(part[0])
            valid[row, : len(part)] = 1
        return batch, valid


def filled_up(features: Tensor) -> Tensor:
    """Features (t, d) with the body standing still at the end, up to a number of frames that can be encoded at once."""
    missing = -len(features) % LATENT_FRAMES
    still = _beginning(features[-1]).expand(missing, -1)
    return torch.cat([features, still])


def _beginning(frame: Tensor) -> Tensor:
    """A frame's features (d,) as if it were the first of its motion."""
    frame = frame.clone()
    joints = (len(frame) - HEAD) // 12
    frame[6:12] = torch.tensor([1.0, 0, 0, 0, 1.0, 0])
    frame[15:HEAD] = 0
    frame[HEAD + 3 * joints : HEAD + 6 * joints] = 0
    return frame
