"""The clips that a joint tokenizer is trained and measured on: read, mapped to the robot, resampled, as features."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from demos.motion import Motion, MotionError, on_the_robot, resampled
from demos.motion_files import read_datasets
from tokenizer.joints.codes import padded
from tokenizer.joints.features import Columns, features_of
from tokenizer.joints.options import FeatureConfig, JointTokenizerConfig


@dataclass(frozen=True, eq=False)
class Clip:
    """A motion on the robot, if there is a joint map, at the tokenizer's frame rate, and its features (t, d)."""

    motion: Motion
    features: np.ndarray


def prepare(motions: Iterable[Motion], c: FeatureConfig, frame_rate: float) -> list[Clip]:
    """The clips of motions of equally many joints.

    Raises:
        MotionError: they have not, or not those of the joint map.
    """
    joint_map = c.joint_map()
    clips: list[Clip] = []
    for motion in motions:
        mapped = motion if joint_map is None else on_the_robot(motion, joint_map)
        joints = mapped.joints.shape[1]
        if clips and joints != (first := clips[0].motion).joints.shape[1]:
            raise MotionError(
                f"{motion.source}: {joints} joints, {first.source} has {first.joints.shape[1]}; a tokenizer is of "
                "one kind of robot"
            )
        clip = resampled(mapped, frame_rate)
        clips.append(Clip(clip, features_of(clip, c)))
    return clips


def read_clips(
    datasets: str | Iterable[str],
    root: str | Path,
    c: JointTokenizerConfig,
    frame_rate: float | None = None,
    selection: str | None = None,
) -> list[Clip]:
    """The clips of datasets (``demos.motion_files.read_datasets``), at ``frame_rate`` or, for None, the first one's."""
    motions = read_datasets(datasets, root, selection)
    if not motions:
        raise MotionError(f"there is no motion in {datasets}")
    return prepare(motions, c.features, frame_rate or motions[0].frame_rate)


class Windows:
    """All windows of some clips, one for each frame that one can begin with, as training samples (window_size, d).

    Raises:
        MotionError: a clip is shorter than a window, and the options do not say to fill it up.
    """

    def __init__(self, clips: list[Clip], c: JointTokenizerConfig):
        size, parts, starts, end = c.window_size, [], [], 0
        columns = Columns.of(c.features, clips[0].motion.joints.shape[1])
        for clip in clips:
            if len(clip.features) < size and c.short_clips == "refuse":
                raise MotionError(
                    f"{clip.motion.source}: a clip of {len(clip.features)} frames at {clip.motion.frame_rate:g} Hz is "
                    f"shorter than the window of {size}; short_clips=pad lets it stand still at its end, or lower "
                    "window_size"
                )
            # as it is encoded: what follows its end is a code of standing still
            length = max(size, len(clip.features) + c.frames_per_code)
            features = padded(clip.features, length, columns.stand_still)
            parts.append(features)
            starts.append(end + np.arange(len(features) - size + 1))
            end += len(features)
        self._size = size
        self._frames = np.concatenate(parts)
        self._starts = np.concatenate(starts)

    def __len__(self) -> int:
        return len(self._starts)

    @property
    def frames(self) -> Tensor:
        """All frames (t, d) of all clips."""
        return torch.from_numpy(self._frames)

    def __getitem__(self, indices: np.ndarray) -> Tensor:
        """The windows (b, window_size, d) of these numbers."""
        return torch.from_numpy(self._frames[self._starts[indices][:, None] + np.arange(self._size)])
