"""Opening a source of videos by what a person calls it."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from common.errors import UserError
from tokenizer.multimodal.canvas import Canvas, Fit
from tokenizer.multimodal.demonstrations import Demonstrations
from tokenizer.multimodal.motion_codes import MotionCodes
from tokenizer.multimodal.penn_action import PennAction
from tokenizer.multimodal.video import Source
from tokenizer.multimodal.video_folder import VideoFolder


def open_source(name: str, demos_root: str | Path, codes: MotionCodes | None = None) -> Source:
    """A folder in Penn Action's layout, another folder of videos, or demonstrations, ``[libero_10:traj0.9]``, which
    may have motion codes.

    Raises:
        UserError: it is none of them.
    """
    path = Path(name)
    if codes and path.is_dir():
        raise UserError(f"{name} is a folder of videos; motion codes are of demonstrations, leave out --codes")
    if (path / "frames").is_dir() and (path / "labels").is_dir():
        return PennAction(path)
    if path.is_dir():
        return VideoFolder(path)
    if ":" not in name:
        raise UserError(f"there is no folder {name}; demonstrations are named like [libero_10:traj0.9]")
    return Demonstrations(name, Path(demos_root), codes)


def thinned_images(source: Source, most: int, fit: Fit, side: int) -> Iterator[np.ndarray]:
    """Of each video up to ``most`` of its frames, spread evenly: (side, side, 3) uint8.

    Videos that cannot be read are left out; without any that can, the last one's UserError comes through.
    """
    failed, found = None, False
    for name in source.names():
        try:
            video = source.read(name)
            count = sum(1 for _ in video.frames())
            places = set(np.linspace(0, count - 1, most).round().astype(int).tolist())
            frames = [frame for number, frame in enumerate(video.frames()) if number in places]
        except UserError as error:
            failed = error
            continue
        for frame in frames:
            height, width = frame.shape[:2]
            found = True
            yield Canvas(width, height, fit, side).image(frame)
    if failed is not None and not found:
        raise failed
