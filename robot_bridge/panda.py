"""A Franka Panda with its hand as a MuJoCo model, put together from robosuite's MJCF; LIBERO's arm."""

from importlib.util import find_spec
from pathlib import Path

import mujoco

from common.errors import UserError
from robot_bridge.config import ROBOSUITE_PANDA

JOINTS = tuple(f"joint{number}" for number in range(1, 8))
HOME = (0.0, -0.161, 0.0, -2.4446, 0.0, 2.2268, 0.7854)
"""The pose (rad) in which LIBERO's episodes begin."""


def panda_spec() -> mujoco.MjSpec:
    """Arm and hand, base at the origin; the hand's names begin with ``gripper_``."""
    found = find_spec("robosuite")
    if found is None or found.origin is None:
        raise UserError("robosuite:panda needs the robosuite package; 'make setup' installs it, or name an MJCF file")
    models = Path(found.origin).parent / "models" / "assets"
    arm = mujoco.MjSpec.from_file(str(models / "robots" / "panda" / "robot.xml"))
    hand = mujoco.MjSpec.from_file(str(models / "grippers" / "panda_gripper.xml"))
    arm.compiler.degree = hand.compiler.degree = False  # robosuite says so in the file that includes these
    arm.attach(hand, prefix="gripper_", frame=arm.body("right_hand").add_frame())
    return arm


def load_model(name: str) -> mujoco.MjModel:
    """The model of ``robot.yaml``: an MJCF or URDF file, or ``robosuite:panda``."""
    if name == ROBOSUITE_PANDA:
        spec = panda_spec()
        for part in (*spec.geoms, *spec.meshes):  # kinematics does not look at shapes, and they take long to load
            part.delete()
        return spec.compile()
    try:
        return mujoco.MjModel.from_xml_path(name)
    except ValueError as error:
        raise UserError(f"cannot load the robot's model {name}: {error}") from None
