"""Opening a source of videos by what a person calls it."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from common.errors import UserError
from tokenizer.multimodal.canvas import Canvas, Fit
from tokenizer.multimodal.demonstrations import Demonstrations
from tokenizer.multimodal.frame_pairs import THRESHOLD, distinct_frames
from tokenizer.multimodal.penn_action import PennAction
from tokenizer.multimodal.video import Source
from tokenizer.multimodal.video_folder import VideoFolder


def open_source(name: str, demos_root: str | Path) -> Source:
    """A folder in Penn Action's layout, another folder of videos, or demonstrations, ``[libero_10:traj0.9]``.

    Raises:
        UserError: it is none of them.
    """
    path = Path(name)
    if (path / "frames").is_dir() and (path / "labels").is_dir():
        return PennAction(path)
    if path.is_dir():
        return VideoFolder(path)
    if ":" not in name:
        raise UserError(f"there is no folder {name}; demonstrations are named like [libero_10:traj0.9]")
    return Demonstrations(name, Path(demos_root))


def thinned_images(source: Source, most: int, fit: Fit, side: int) -> Iterator[np.ndarray]:
    """Of each video up to ``most`` of its distinct frames, spread evenly: (side, side, 3) uint8.

    Videos that cannot be read are left out; without any that can, the last one's UserError comes through.
    """
    failed, found = None, False
    for name in source.names():
        try:
            frames = [one.frame for one in distinct_frames(source.read(name).frames(), THRESHOLD)]
        except UserError as error:
            failed = error
            continue
        for place in np.unique(np.linspace(0, len(frames) - 1, most).round().astype(int)):
            height, width = frames[place].shape[:2]
            found = True
            yield Canvas(width, height, fit, side).image(frames[place])
    if failed is not None and not found:
        raise failed
