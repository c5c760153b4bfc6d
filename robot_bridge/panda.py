"""A Franka Panda with its hand as a MuJoCo model, put together from robosuite's MJCF; LIBERO's arm."""

from importlib.util import find_spec
from pathlib import Path

import mujoco

from common.errors import UserError
from robot_bridge.config import ROBOSUITE_PANDA

JOINTS = tuple(f"joint{number}" for number in range(1, 8))
HOME = (0.0, -0.161, 0.0, -2.4446, 0.0, 2.2268, 0.7854)
"""The pose (rad) in which LIBERO's episodes begin."""
SPHERES = (
    ("link3", (0.0, 0.0, -0.06), 0.066),  # shoulder and elbow
    ("link3", (0.083, 0.05, 0.0), 0.072),
    ("link4", (0.0, 0.0, 0.045), 0.07),
    ("link4", (-0.083, 0.085, 0.0), 0.068),
    ("link4", (-0.083, 0.03, 0.0), 0.06),
    ("link5", (0.0, 0.0, -0.22), 0.07),  # the forearm's ends
    ("link5", (0.0, 0.065, -0.005), 0.07),
    ("link6", (0.0, 0.0, 0.005), 0.056),  # wrist
    ("link6", (0.085, 0.035, 0.002), 0.052),
    ("link6", (0.085, -0.015, 0.002), 0.056),
    ("link7", (0.042, 0.042, 0.082), 0.04),
    ("link7", (0.0, 0.0, 0.078), 0.05),  # flange
    ("gripper_right_gripper", (0.07, 0.0, 0.03), 0.039),  # the hand's broad sides
    ("gripper_right_gripper", (-0.07, 0.0, 0.03), 0.039),
    ("gripper_right_gripper", (0.07, 0.0, 0.008), 0.038),
    ("gripper_right_gripper", (-0.07, 0.0, 0.008), 0.038),
    ("gripper_right_gripper", (0.056, 0.0, 0.096), 0.014),  # tips of the open fingers
    ("gripper_right_gripper", (-0.056, 0.0, 0.096), 0.014),
)
"""What stands for the moving links in the workspace box: body, middle (m), radius (m).

Their lowest point is at most 1 cm above that of the links' shapes and 3 cm below it, in any pose near a table.
"""


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
        for number, (body, middle, radius) in enumerate(SPHERES):
            spec.body(body).add_site(name=f"guard_{number}", pos=middle, size=[radius, 0, 0])
        return spec.compile()
    try:
        return mujoco.MjModel.from_xml_path(name)
    except ValueError as error:
        raise UserError(f"cannot load the robot's model {name}: {error}") from None
