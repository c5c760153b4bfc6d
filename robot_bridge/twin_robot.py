"""The robot that the digital twin is: a model with servos, its wiring, its grippers; of any ``robot.yaml``."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import mujoco
import numpy as np

from common.conventions import VIEWS
from common.errors import UserError
from common.joint_map import JointMap
from robot_bridge.config import ROBOSUITE_PANDA, GripperConfig, RobotConfig, read_robot
from robot_bridge.models import model_spec
from robot_bridge.panda import HOME, JOINTS

PANDA_GAINS = np.array(
    [[4500, 4500, 3500, 3500, 2000, 2000, 2000], [450, 450, 350, 350, 200, 200, 200], [87, 87, 87, 87, 40, 40, 40.0]]
)
"""Stiffness (N m/rad), damping (N m s/rad) and greatest torque (N m) of a Panda's joints."""
ARMATURE = 0.1
"""kg m^2 that a geared motor adds to a joint whose model has a torque motor, or none."""
BANDWIDTH = 60.0
"""Rad/s of the servo that such a joint gets, critically damped."""
AHEAD = 1.2
"""Times the velocity limit of ``robot.yaml``: as fast as a controller goes to catch up."""
FINGER = 0.05
"""N m s/rad that a finger's joint has at least."""

# How the twin is wired, written down apart from any robot.yaml, so that a wrong joint map shows.
WIRING = JointMap.from_config(
    {
        "apply_sim_to_real_map": True,
        "real_dof": 7,
        "sim_to_real_idx": [2, 4, 6, 1, 5, 3, 0],
        "sign": [1, -1, 1, -1, 1, -1, 1],
        "offset": [-0.2, 0.0, -1.0, 0.0, 0.3, 0.1, 0.5],
    },
    len(JOINTS),
)


@dataclass(frozen=True)
class TwinRobot:
    """``model`` is what ``robot.yaml`` calls so, ``home`` (n,) rad where ``joints`` begin, ``wiring`` their real order.

    ``speed`` (n,) rad/s is what the controller moves each joint with at most, on its way to a target.
    ``gains`` (3, n) are stiffness, damping and greatest torque of the joints' servos; without them a joint's own servo
    is kept, and a motor becomes one that suits the inertia. ``cameras``: a camera of the scene, and what its images are
    called; ``sizes``: (height, width) of those that have one.
    """

    model: str
    joints: tuple[str, ...]
    home: np.ndarray
    wiring: JointMap
    grippers: tuple[GripperConfig, ...]
    speed: np.ndarray
    gains: np.ndarray | None = None
    cameras: Mapping[str, str] = field(default_factory=lambda: {view: view for view in VIEWS})
    sizes: Mapping[str, tuple[int, int]] = field(default_factory=dict)

    def spec(self) -> mujoco.MjSpec:
        """The model with a servo on each joint.

        Raises:
            UserError: the model lacks a joint.
        """
        spec = model_spec(self.model)
        fingers = [name for gripper in self.grippers for name in gripper.joints]
        missing = {*self.joints, *fingers} - {joint.name for joint in spec.joints}
        if missing:
            raise UserError(f"{self.model} has no joint {', '.join(sorted(missing))}")
        inertia = self._inertia(spec) if self.gains is None else np.zeros(len(self.joints))
        for number, joint in enumerate(self.joints):
            gains = None if self.gains is None else self.gains[:, number]
            _servo(spec, joint, float(inertia[number]), gains)
        for finger in fingers:
            _servo(spec, finger, 0.0, None)
        for body in spec.bodies:
            body.gravcomp = 1.0  # as a real arm's controller does
        if self.gains is None:
            _ignore_itself(spec)
            for joint in spec.joints:
                if joint.name not in self.joints:  # of grippers, which swing for ever in some models
                    joint.damping, joint.armature = max(joint.damping, FINGER), max(joint.armature, FINGER / 20)
        return spec

    def _inertia(self, spec: mujoco.MjSpec) -> np.ndarray:
        """What each joint (n,) has to move at home, kg m^2."""
        model = spec.copy().compile()
        data = mujoco.MjData(model)
        for joint, q in zip(self.joints, self.home, strict=True):
            data.joint(joint).qpos[0] = q
        mujoco.mj_forward(model, data)
        full = np.zeros((model.nv, model.nv))
        mujoco.mj_fullM(model, full, data.qM)
        return np.diag(full)[[int(model.joint(joint).dofadr[0]) for joint in self.joints]]


def panda_twin() -> TwinRobot:
    """LIBERO's arm, wired in an order of its own: the robot of ``--robot twin``."""
    grippers = read_robot("twin").grippers
    return TwinRobot(ROBOSUITE_PANDA, JOINTS, np.array(HOME), WIRING, grippers, np.full(len(JOINTS), 2.6), PANDA_GAINS)


def twin_of(config: RobotConfig) -> TwinRobot:
    """Of a ``robot.yaml``, wired as its joint map says: what is wrong there is wrong here, too."""
    home = config.home
    if home is None:
        home = np.clip(np.zeros(len(config.joints)), config.safety.lower, config.safety.upper)
    views = config.cameras or {view: view for view in VIEWS}
    gains = PANDA_GAINS if config.is_training_arm else None
    return TwinRobot(
        config.model,
        config.joints,
        home,
        config.joint_map,
        config.grippers,
        AHEAD * config.safety.velocity,
        gains,
        views,
        config.camera_sizes,
    )


def _ignore_itself(spec: mujoco.MjSpec) -> None:
    """Lets the links of an arm pass through each other: shapes of many models touch where they are joined."""
    for root in spec.worldbody.bodies:
        links = [root, *root.find_all("body")]
        for number, link in enumerate(links):
            for other in links[:number]:
                spec.add_exclude(bodyname1=other.name, bodyname2=link.name)


def _servo(spec: mujoco.MjSpec, joint: str, inertia: float, gains: np.ndarray | None) -> None:
    """Makes a position servo of the joint's motor, or adds one; a servo stays as it is where no gains are given."""
    actuator = next((entry for entry in spec.actuators if entry.target == joint), None)
    if gains is None:
        if actuator is not None and actuator.biastype == mujoco.mjtBias.mjBIAS_AFFINE:
            return
        part = spec.joint(joint)
        slides = part.type == mujoco.mjtJoint.mjJNT_SLIDE
        if not slides:
            part.armature = max(part.armature, ARMATURE if inertia else 1e-3)
        moved = inertia + max(part.armature, 0.05)
        force = np.inf
        if actuator is not None and actuator.ctrlrange[0] < actuator.ctrlrange[1]:
            force = actuator.ctrlrange[1]  # a motor's is its torque
        gains = np.array([moved * BANDWIDTH**2, 2 * moved * BANDWIDTH, force])
    if actuator is None:
        actuator = spec.add_actuator(name=f"servo_{joint}", target=joint, trntype=mujoco.mjtTrn.mjTRN_JOINT)
    # From torques to a position servo: force = stiffness (target - q) - damping dq.
    actuator.biastype = mujoco.mjtBias.mjBIAS_AFFINE
    actuator.gainprm[0] = gains[0]
    actuator.biasprm[:3] = 0, -gains[0], -gains[1]
    actuator.ctrllimited = False
    if np.isfinite(gains[2]):
        actuator.forcelimited = True
        actuator.forcerange = -gains[2], gains[2]
