"""Films of bodies as stick figures, seen from the side and from ahead, each joined to the joint that it hangs on."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from rich.console import Console
from rich.progress import track

from common.video import write_video
from demos.body_motion import JOINTS, PARENTS, BodyMotion

SIDE, METRES = 320, 2.4
"""Pixels and metres of each of the two views."""
_PAPER, _LEFT, _RIGHT, _MIDDLE, _HEAD = (250, 250, 252), (30, 110, 200), (220, 110, 30), (60, 60, 65), (200, 40, 60)


def frame_of(motion: BodyMotion, frame: int) -> np.ndarray:
    """A picture (h, w, 3) uint8 of one frame, along the world's y axis and along its x axis."""
    canvas = Image.new("RGB", (2 * SIDE, SIDE), _PAPER)
    draw = ImageDraw.Draw(canvas)
    joints = motion.joint_positions[frame]
    for view, axis in enumerate((0, 1)):

        def pixel(point: np.ndarray, view: int = view, axis: int = axis) -> tuple[float, float]:
            across = (point[axis] - joints[0, axis]) / METRES + 0.5
            return SIDE * (view + across), SIDE * (0.92 - point[2] / METRES)

        for child, parent in enumerate(PARENTS):
            if parent >= 0:
                colour = {"L": _LEFT, "R": _RIGHT}.get(JOINTS[child].split("_")[0], _MIDDLE)
                draw.line([pixel(joints[parent]), pixel(joints[child])], fill=colour, width=3)
        eye = motion.head_position[frame]
        draw.line([pixel(eye), pixel(eye + 0.15 * motion.head_rotation[frame][:, 2])], fill=_HEAD, width=3)
    return np.asarray(canvas)


def film(path: Path, motions: Sequence[BodyMotion]) -> None:
    """Writes an MP4 of the motions one after the other; the short red line is where the head looks."""
    console = Console(stderr=True)
    frames = [(motion, i) for motion in motions for i in range(len(motion))]
    shown = track(frames, "film", console=console, disable=not console.is_terminal)
    write_video(path, (frame_of(motion, i) for motion, i in shown), motions[0].frame_rate)
