"""LIBERO's arm and its controller as a reference: where an action would have brought the arm of the training.

An action is a goal relative to where the hand is, to which robosuite's OSC_POSE pulls a simulated Panda for one control
period (1/20 s). It covers about a quarter of the step, pushes the hand aside and tilts it on the way, and a policy has
learned to reckon with all of that. So the same arm with the same controller is run here, in free space, and the robot
follows its hand; a Panda also follows its elbow, which policies see in the joint positions.
Poses: position (3,) m and rotation matrix (3, 3), base frame.
"""

import mujoco
import numpy as np

from common.osc_response import SINGULAR, joint_step
from robot_bridge.config import ROBOSUITE_PANDA, OscConfig, RobotConfig
from robot_bridge.kinematics import Kinematics
from robot_bridge.models import load_model
from robot_bridge.panda import HOME, JOINTS
from robot_bridge.rotations import rotation_matrix, rotation_vector

PHYSICS_STEP = 0.002
"""Seconds, as in the simulator."""
POSTURE_STIFFNESS = 10.0
"""1/s^2, towards the home pose, where that does not move the hand."""
FRICTION = 0.1
"""N m; robosuite gives it to every joint of every robot, and an armature of 5 / k kg m^2 to joint k."""
NEAR, ALIGNED, BENT_ALIKE = 2e-3, 1e-2, 2e-2
"""The command may be so far (m, rad, and rad for a joint) from the reference before the reference is put where it is.

More than inverse kinematics leaves over: to begin from its result each time would lose slow motions altogether.
"""
SITE = "gripper_grip_site"


class OscReference:
    """The simulated arm of the training, in free space; ``dt`` is the control period (s)."""

    def __init__(self, config: OscConfig, dt: float):
        self._config, self._substeps = config, round(dt / PHYSICS_STEP)
        self._model = model = load_model(ROBOSUITE_PANDA)
        self._kinematics = Kinematics(load_model(ROBOSUITE_PANDA), JOINTS, SITE, "base")
        model.opt.timestep = PHYSICS_STEP
        model.opt.density, model.opt.viscosity = 1.2, 2e-5  # of air
        self._joints = np.array([model.joint(name).qposadr[0] for name in JOINTS])
        self._velocities = np.array([model.joint(name).dofadr[0] for name in JOINTS])
        model.dof_armature[self._velocities] = 5.0 / np.arange(1, 8)
        model.dof_frictionloss[self._velocities] = FRICTION
        self._data = data = mujoco.MjData(model)
        self._site = model.site(SITE).id
        self._base = model.body("base").id
        self._jacobian = np.zeros((6, model.nv))
        self._inertia = np.zeros((model.nv, model.nv))
        data.qpos[self._joints] = HOME
        data.ctrl[7:9] = 0.04, -0.04
        data.qpos[[int(model.joint(f"gripper_finger_joint{n}").qposadr[0]) for n in (1, 2)]] = 0.04, -0.04
        mujoco.mj_forward(model, data)
        self._goal_rotation: np.ndarray | None = None

    def advance(
        self, position: np.ndarray, rotation: np.ndarray, action: np.ndarray, joints: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """The pose after one control period of ``action`` (>= 6,) in [-1, 1], from where the command is now.

        ``joints`` (7,) rad are the commanded ones of a robot that is a Panda itself.
        """
        self._meet(position, rotation, joints)
        position, rotation = self._pose()
        deltas = np.clip(action[:6], -1, 1)
        goal = position + self._config.position_scale * deltas[:3]
        # As the simulator does: an action without rotation keeps the goal of the last one that had it.
        if self._goal_rotation is None or np.abs(deltas[3:]).max() > 0:
            self._goal_rotation = rotation_matrix(self._config.rotation_scale * deltas[3:]) @ rotation
        for _ in range(self._substeps):
            mujoco.mj_step1(self._model, self._data)
            self._data.ctrl[:7] = self._torques(goal, self._goal_rotation)
            mujoco.mj_step2(self._model, self._data)
        mujoco.mj_forward(self._model, self._data)
        return self._pose()

    @property
    def joints(self) -> np.ndarray:
        """Joint positions (7,) rad of the simulated arm."""
        return self._data.qpos[self._joints]

    def joint_step(self, action: np.ndarray) -> np.ndarray:
        """How far (n,) rad an action (6,), or what two differ in, takes this arm's joints in one control period."""
        scales = {name: getattr(self._config, name) for name in ("position_scale", "rotation_scale", "stiffness")}
        return joint_step(*self._dynamics(), action, **scales, seconds=self._substeps * PHYSICS_STEP)

    def _dynamics(self) -> tuple[np.ndarray, np.ndarray]:
        """The hand's Jacobian (6, n) and the joints' inertia (n, n)."""
        mujoco.mj_jacSite(self._model, self._data, self._jacobian[:3], self._jacobian[3:], self._site)
        mujoco.mj_fullM(self._model, self._inertia, self._data.qM)
        return self._jacobian[:, self._velocities], self._inertia[np.ix_(self._velocities, self._velocities)]

    def rest(self) -> None:
        """The arm stands; the next action starts from rest."""
        self._data.qvel[:] = 0
        self._goal_rotation = None

    def _meet(self, position: np.ndarray, rotation: np.ndarray, joints: np.ndarray | None) -> None:
        """Brings the arm to the command, where the robot was not sent to the last pose that came from here: at the
        start, and when the safety filter has intervened."""
        here, facing = self._pose()
        apart = np.abs(position - here).max() > NEAR or np.abs(rotation_vector(rotation @ facing.T)).max() > ALIGNED
        if apart or (joints is not None and np.abs(joints - self.joints).max() > BENT_ALIKE):
            met = self._kinematics.solve(position, rotation, self.joints) if joints is None else joints
            self._data.qpos[self._joints] = met
            mujoco.mj_forward(self._model, self._data)

    def _pose(self) -> tuple[np.ndarray, np.ndarray]:
        """The hand in the base's frame; the base stands upright at the world's origin."""
        data = self._data
        return data.site_xpos[self._site] - data.xpos[self._base], data.site_xmat[self._site].reshape(3, 3).copy()

    def _torques(self, goal: np.ndarray, goal_rotation: np.ndarray) -> np.ndarray:
        """Operational-space control (Khatib 1987) as robosuite has it: translation and rotation uncoupled, critically
        damped, and in the null space the home posture; (7,) N m."""
        model, data, velocities = self._model, self._data, self._velocities
        stiffness, damping = self._config.stiffness, 2 * np.sqrt(self._config.stiffness)
        jacobian, inertia = self._dynamics()
        speed = self._jacobian @ data.qvel
        facing = data.site_xmat[self._site].reshape(3, 3)
        turn = 0.5 * np.cross(facing, goal_rotation, axis=0).sum(axis=1)
        pull = stiffness * np.concatenate([goal - data.site_xpos[self._site], turn]) - damping * speed
        spread = np.linalg.solve(inertia, jacobian.T)  # M^-1 J^T
        mobility = jacobian @ spread + SINGULAR * np.eye(6)
        wrench = np.concatenate(
            [np.linalg.solve(mobility[:3, :3], pull[:3]), np.linalg.solve(mobility[3:, 3:], pull[3:])]
        )
        posture = POSTURE_STIFFNESS * (np.array(HOME) - data.qpos[self._joints])
        posture = inertia @ (posture - 2 * np.sqrt(POSTURE_STIFFNESS) * data.qvel[velocities])
        posture -= jacobian.T @ np.linalg.solve(mobility, spread.T @ posture)
        torques = jacobian.T @ wrench + posture + data.qfrc_bias[velocities]
        return np.clip(torques, *model.actuator_ctrlrange[:7].T)


def references_of(config: RobotConfig, rate: float) -> tuple[OscReference, ...]:
    """One for each arm where actions are LIBERO's, none where they say themselves where to go; ``rate`` in Hz."""
    count = len(config.arms) if config.mode == "osc_delta" else 0
    return tuple(OscReference(config.osc, 1 / rate) for _ in range(count))
