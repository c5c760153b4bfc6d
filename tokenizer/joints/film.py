"""Films of motions: a MuJoCo model that moves so, seen by a camera that goes along."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track

from common.gl import RenderingUnavailable
from common.video import write_video
from demos.forward_kinematics import MjcfKinematics
from demos.motion import Motion

HEIGHT, WIDTH = 368, 480
DISTANCE, ELEVATION = 3.5, -15.0
"""Of the camera: m, degrees."""


def film(path: Path, motions: Sequence[Motion], model: Path) -> None:
    """Writes an MP4 of the motions one after the other.

    Raises:
        UserError: the model has other joints, or nothing can be rendered here.
    """
    import mujoco

    body = MjcfKinematics(model)
    frames = [(motion, frame) for motion in motions for frame in range(len(motion))]
    console = Console(stderr=True)
    camera = mujoco.MjvCamera()
    camera.distance, camera.elevation, camera.azimuth = DISTANCE, ELEVATION, 120.0
    try:
        renderer = mujoco.Renderer(body.model, HEIGHT, WIDTH)
    except Exception as error:  # MuJoCo has no class of its own for it
        raise RenderingUnavailable.because(str(error)) from None

    def rendered() -> Iterator[np.ndarray]:
        for motion, frame in track(frames, "film", console=console, disable=not console.is_terminal):
            data = body.place(motion, frame)
            mujoco.mj_camlight(body.model, data)
            camera.lookat[:] = motion.root_pos[frame]
            renderer.update_scene(data, camera)
            yield renderer.render()

    with renderer:
        write_video(path, rendered(), motions[0].frame_rate)
