"""Other looks of the same scene: tints, light, a camera moved a little; so that a policy learns what does not matter.

Everything that is changed is read by MuJoCo at every image, so a look costs nothing. States, actions and which point
belongs to which body stay the same; tracks follow the moved camera.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import mujoco
import numpy as np
from scipy.spatial.transform import Rotation

CHANGED = ("mat_rgba", "geom_rgba", "light_diffuse", "light_ambient", "light_pos", "cam_pos", "cam_quat")


@dataclass(frozen=True)
class Variation:
    """How far looks may differ. The defaults keep every object recognisable by its colour.

    Args:
        tint: largest change of each colour channel of a material, as a part of it.
        brightness: the same for all lights together.
        light_shift: standard deviation (m) of where lights are.
        camera_shift, camera_turn: standard deviations (m, rad) of where the agent view's camera is and looks.
    """

    tint: float = 0.2
    brightness: float = 0.3
    light_shift: float = 0.3
    camera_shift: float = 0.01
    camera_turn: float = 0.01


@contextmanager
def varied(
    model: mujoco.MjModel, rng: np.random.Generator, variation: Variation, camera: str = "agentview"
) -> Iterator[None]:
    """``model`` with another look, put back afterwards."""
    before = {name: getattr(model, name).copy() for name in CHANGED}
    try:
        for colours in (model.mat_rgba, model.geom_rgba):
            tints = 1 + rng.uniform(-variation.tint, variation.tint, (len(colours), 3))
            colours[:, :3] = np.clip(colours[:, :3] * tints, 0, 1)
        brightness = 1 + rng.uniform(-variation.brightness, variation.brightness)
        for light in (model.light_diffuse, model.light_ambient):
            light[:] = np.clip(light * brightness, 0, 1)
        model.light_pos[:] += rng.normal(0, variation.light_shift, model.light_pos.shape)
        moved = model.camera(camera).id
        model.cam_pos[moved] += rng.normal(0, variation.camera_shift, 3)
        turn = Rotation.from_rotvec(rng.normal(0, variation.camera_turn, 3))
        w, *xyz = model.cam_quat[moved]
        x, y, z, w = (turn * Rotation.from_quat([*xyz, w])).as_quat()
        model.cam_quat[moved] = w, x, y, z
        yield
    finally:
        for name, values in before.items():
            getattr(model, name)[:] = values
