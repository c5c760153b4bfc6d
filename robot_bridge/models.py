"""MuJoCo models of arms: from a file of your own, or put together from robosuite's MJCF, arm and gripper."""

from importlib.util import find_spec
from pathlib import Path
from xml.etree import ElementTree

import mujoco

from common.errors import UserError
from robot_bridge.config import ROBOSUITE_PANDA
from robot_bridge.panda import SPHERES

ROBOSUITE = "robosuite:"
GRIPPERS = {
    "panda": "panda_gripper",
    "ur5e": "robotiq_gripper_85",
    "sawyer": "rethink_gripper",
    "iiwa": "robotiq_gripper_140",
    "jaco": "jaco_three_finger_gripper",
    "kinova3": "robotiq_gripper_85",
}
"""robosuite's single arms, and the gripper that it mounts on each."""


def model_spec(name: str) -> mujoco.MjSpec:
    """The model of ``robot.yaml`` with its shapes: an MJCF or URDF file, or ``robosuite:NAME``.

    robosuite's arms stand at the origin; the names of their grippers' parts begin with ``gripper_``.

    Raises:
        UserError: there is no such file, or no such arm in robosuite.
    """
    if not name.startswith(ROBOSUITE):
        try:
            return mujoco.MjSpec.from_file(name)
        except ValueError as error:
            raise UserError(f"cannot load the robot's model {name}: {error}") from None
    arm_name = name.removeprefix(ROBOSUITE)
    if arm_name not in GRIPPERS:
        raise UserError(f"{name}: robosuite has {', '.join(ROBOSUITE + arm for arm in GRIPPERS)}; or name an MJCF file")
    found = find_spec("robosuite")
    if found is None or found.origin is None:
        raise UserError(f"{name} needs the robosuite package; 'make setup' installs it, or name an MJCF file")
    models = Path(found.origin).parent / "models" / "assets"
    arm = _part(models / "robots" / arm_name / "robot.xml")
    hand = _part(models / "grippers" / f"{GRIPPERS[arm_name]}.xml")
    arm.attach(hand, prefix="gripper_", frame=arm.body("right_hand").add_frame())
    return arm


def _part(file: Path) -> mujoco.MjSpec:
    """One of robosuite's files; a mesh that is named twice there counts once, and MuJoCo does not survive it else."""
    document, seen = ElementTree.parse(file).getroot(), set[str]()
    for assets in document.iter("asset"):
        for mesh in assets.findall("mesh"):
            if mesh.get("name", "") in seen:
                assets.remove(mesh)
            seen.add(mesh.get("name", ""))
    for asset in document.iter():
        if asset.tag in ("mesh", "texture") and asset.get("file"):
            asset.set("file", str(file.parent / asset.get("file", "")))
    spec = mujoco.MjSpec.from_string(ElementTree.tostring(document, "unicode"))
    spec.compiler.degree = False  # robosuite says so in the file that includes these
    for mesh in spec.meshes:
        mesh.inertia = mujoco.mjtMeshInertia.mjMESH_INERTIA_SHELL  # some are flat; masses are given beside them
    return spec


def load_model(name: str) -> mujoco.MjModel:
    """The model of ``robot.yaml`` for kinematics; robosuite's without shapes, which take long to load.

    Raises:
        UserError: as ``model_spec``, or it is none that can be simulated.
    """
    spec = model_spec(name)
    if name.startswith(ROBOSUITE):
        for part in (*spec.geoms, *spec.meshes):
            part.delete()
    if name == ROBOSUITE_PANDA:
        for number, (body, middle, radius) in enumerate(SPHERES):
            spec.body(body).add_site(name=f"guard_{number}", pos=middle, size=[radius, 0, 0])
    elif name.startswith(ROBOSUITE):
        spec.compiler.boundmass = spec.compiler.boundinertia = 1e-6  # of parts whose shapes said how heavy they are
    try:
        return spec.compile()
    except ValueError as error:
        raise UserError(f"cannot load the robot's model {name}: {error}") from None
