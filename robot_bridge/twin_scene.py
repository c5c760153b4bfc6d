"""What the digital twin's robot stands in: a table with two things to reach for, or a scene file.

A scene file is MJCF with a body ``robot_base`` where the robot stands and a camera ``agentview``;
``python -m sim.scene`` writes one of any LIBERO task. Its keyframe ``start``, if there is one, says where everything is
in the beginning, its custom text ``notice`` what people should know.
"""

from dataclasses import dataclass, field
from pathlib import Path

import mujoco
import numpy as np

from common.errors import UserError
from robot_bridge.twin_robot import TwinRobot

PERIOD = 0.002
"""Seconds of a simulation step, and of the twin's control."""


@dataclass
class Scene:
    """A compiled scene with the arm in it, and the joint positions it starts from, by joint."""

    model: mujoco.MjModel
    start: dict[str, np.ndarray] = field(default_factory=dict)
    notice: str = ""
    """What the file says about itself to whoever uses it."""


def load_scene(robot: TwinRobot, path: str | Path | None = None) -> Scene:
    """The scene of a file, or the table; with the robot.

    Raises:
        UserError: the file is no scene that the robot can stand in.
    """
    if path is None:
        return Scene(_with_robot(_table(), robot))
    try:
        spec = mujoco.MjSpec.from_file(str(path))
        alone = spec.compile()
    except ValueError as error:
        raise UserError(f"cannot read the scene {path}: {error}; python -m sim.scene writes one") from None
    for kind, name, parts in (("body", "robot_base", spec.bodies), ("camera", "agentview", spec.cameras)):
        if name not in {part.name for part in parts}:
            raise UserError(f"the scene {path} has no {kind} {name!r}; python -m sim.scene writes one that has")
    start = {}
    for key in spec.keys:
        if key.name == "start":
            joints = [alone.joint(number) for number in range(alone.njnt)]
            start = {joint.name: np.array(key.qpos[joint.qposadr[0] :][: joint.qpos0.size]) for joint in joints}
        key.delete()  # its size is that of the scene without the arm
    folder = Path(path).resolve().parent
    for files, subfolder in ((spec.meshes, spec.meshdir), (spec.textures, spec.texturedir)):
        for part in files:
            if part.file:
                part.file = str(folder / subfolder / part.file)
    spec.meshdir = spec.texturedir = ""  # they would count for the arm's files, too
    notice = next((text.data for text in spec.texts if text.name == "notice"), "")
    return Scene(_with_robot(spec, robot), start, notice)


def _with_robot(spec: mujoco.MjSpec, robot: TwinRobot) -> mujoco.MjModel:
    """The robot on the body ``robot_base``."""
    spec.attach(robot.spec(), frame=spec.body("robot_base").add_frame())
    spec.option.timestep = PERIOD
    spec.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST  # stiff servos on light links
    spec.visual.quality.offsamples = 0  # software OpenGL on a robot's PC has other things to do
    spec.visual.global_.offwidth = spec.visual.global_.offheight = 512
    return spec.compile()


def _table() -> mujoco.MjSpec:
    spec = mujoco.MjSpec()
    spec.visual.quality.shadowsize = 0
    gradient = mujoco.mjtBuiltin.mjBUILTIN_GRADIENT
    sky = {"rgb1": [0.85, 0.85, 0.82], "rgb2": [0.7, 0.7, 0.68], "width": 64, "height": 64}
    spec.add_texture(name="sky", type=mujoco.mjtTexture.mjTEXTURE_SKYBOX, builtin=gradient, **sky)
    world = spec.worldbody
    world.add_body(name="robot_base")
    world.add_light(pos=[1, 1, 3], dir=[-0.3, -0.3, -1], diffuse=[0.8, 0.8, 0.8])
    # The arm's base is the origin here; LIBERO's table scenes have it at (-0.66, 0, 0.912).
    world.add_camera(name="agentview", pos=[1.32, 0.0, 0.70], quat=[0.6380, 0.3048, 0.3048, 0.6380])
    box, cylinder = mujoco.mjtGeom.mjGEOM_BOX, mujoco.mjtGeom.mjGEOM_CYLINDER
    world.add_geom(
        name="table", type=box, size=[0.45, 0.6, 0.02], pos=[0.6, 0, -0.03], rgba=[0.75, 0.6, 0.45, 1], group=1
    )
    for name, shape, size, place, color in (
        ("box", box, [0.02, 0.02, 0.03], [0.55, 0.12, 0.03], [0.8, 0.2, 0.2, 1]),
        ("can", cylinder, [0.025, 0.04, 0], [0.5, -0.15, 0.04], [0.2, 0.4, 0.8, 1]),
    ):
        body = world.add_body(name=name, pos=place)
        body.add_freejoint()
        body.add_geom(type=shape, size=size, rgba=color, mass=0.1, group=1)
    return spec
