"""Forward and inverse kinematics of an arm from its own MJCF or URDF, by mink (differential inverse kinematics).

The only part of the control loop that needs MuJoCo; it is imported when a loop starts, never by the client.
"""

from collections.abc import Sequence

import mink
import mujoco
import numpy as np

from robot_bridge.config import RobotConfig, RobotConfigError
from robot_bridge.models import load_model
from robot_bridge.rotations import rotation_quaternion
from robot_bridge.safety import Limb

ITERATIONS = 8
LONGEST = 0.3
"""rad that a joint moves in one iteration: the linear model of the arm holds no further."""
POSITION_ENOUGH, ROTATION_ENOUGH, STEP_ENOUGH = 1e-4, 1e-3, 1e-4
"""An error below this (m, rad), or a step below this (rad), needs no further iteration."""
POSTURE_COST, DAMPING = 1e-3, 1e-3
GUARD = "guard_"
"""Sites whose names begin so are spheres, of the site's size, that stand for the arm's body in the workspace box."""


class Kinematics:
    """The end effector ``site`` of an arm. Joints (n,) rad in the order of ``joints``; poses in the base's frame."""

    def __init__(self, model: mujoco.MjModel, joints: Sequence[str], site: str, base: str | None = None):
        try:
            numbers = [model.joint(name).id for name in joints]
            self._site = model.site(site).id
            self._base = model.body(base).id if base is not None else 0
        except KeyError as error:
            raise RobotConfigError(f"the robot's model does not have that: {error}") from None
        self._model, self._data = model, mujoco.MjData(model)
        self._joints, self._addresses = np.array(numbers), model.jnt_qposadr[numbers]
        self._configuration = mink.Configuration(model)
        self._target = mink.FrameTask(site, "site", position_cost=1.0, orientation_cost=0.3)
        self._posture = mink.PostureTask(model, cost=POSTURE_COST)
        self._limit = mink.ConfigurationLimit(model)
        self._lower, self._upper = self._limit.lower[self._addresses], self._limit.upper[self._addresses]
        guards = [number for number in self._own_sites(numbers) if model.site(number).name.startswith(GUARD)]
        self._spheres = np.array([self._site, *guards])
        joint_axes = np.zeros(len(numbers))  # elbow and wrist of a model without guards
        self.radii = np.concatenate([[0.0], model.site_size[guards, 0], joint_axes])
        """Radii (m,) m of the spheres that stand for the arm: end effector, guards, and the middle of each joint."""
        rigid = model.body_weldid[model.site_bodyid[self._spheres]] == model.body_weldid[model.site_bodyid[self._site]]
        self._hand, self._hand_radii = self._spheres[rigid], self.radii[: len(rigid)][rigid]
        mujoco.mj_kinematics(model, self._data)
        facing = self._data.site_xmat[self._site].reshape(3, 3)
        self._hand_offsets = (self._data.site_xpos[self._hand] - self._data.site_xpos[self._site]) @ facing

    @property
    def base(self) -> tuple[np.ndarray, np.ndarray]:
        """Position (3,) m and rotation (3, 3) of the base's frame in the model's."""
        return self._data.xpos[self._base].copy(), self._data.xmat[self._base].reshape(3, 3).copy()

    def pose(self, q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Position (3,) m and rotation (3, 3) of the end effector at ``q``."""
        data = self._place(q)
        base = data.xmat[self._base].reshape(3, 3)
        position = base.T @ (data.site_xpos[self._site] - data.xpos[self._base])
        return position, base.T @ data.site_xmat[self._site].reshape(3, 3)

    def centres(self, path: np.ndarray) -> np.ndarray:
        """Middles (t, m, 3) m of the spheres that stand for the arm, at joints (t, n) rad."""
        places = np.empty((len(path), len(self.radii), 3))
        for place, q in zip(places, path, strict=True):
            data = self._place(q)
            place[: len(self._spheres)] = data.site_xpos[self._spheres]
            place[len(self._spheres) :] = data.xanchor[self._joints]
        return (places - self._data.xpos[self._base]) @ self._data.xmat[self._base].reshape(3, 3)

    def depth(self, rotation: np.ndarray) -> float:
        """How far (m) the hand reaches below the end effector when that is turned like ``rotation`` (3, 3)."""
        return float((self._hand_radii - self._hand_offsets @ rotation[2]).max())

    def solve(
        self,
        position: np.ndarray,
        rotation: np.ndarray,
        q: np.ndarray,
        lower: np.ndarray | None = None,
        upper: np.ndarray | None = None,
    ) -> np.ndarray:
        """Joints near ``q`` that bring the end effector to a pose, as near as the joints' ranges allow.

        The ranges are the model's, or ``lower`` and ``upper`` (n,) rad. What has come out is to be checked: a pose out
        of reach, or a search that went astray, gives joints with another pose.
        """
        self._limit.lower[self._addresses] = self._lower if lower is None else lower
        self._limit.upper[self._addresses] = self._upper if upper is None else upper
        configuration = self._configuration
        full = configuration.q.copy()
        full[self._addresses] = q
        configuration.update(full)
        data = configuration.data
        base = data.xmat[self._base].reshape(3, 3)
        goal = data.xpos[self._base] + base @ position
        x, y, z, w = rotation_quaternion(base @ rotation)
        self._target.set_target(mink.SE3(np.concatenate([[w, x, y, z], goal])))
        self._posture.set_target(configuration.q)
        tasks = [self._target, self._posture]
        for _ in range(ITERATIONS):
            error = self._target.compute_error(configuration)
            if np.abs(error[:3]).max() < POSITION_ENOUGH and np.abs(error[3:]).max() < ROTATION_ENOUGH:
                break
            try:
                step = mink.solve_ik(configuration, tasks, 1.0, "daqp", damping=DAMPING, limits=[self._limit])
            except mink.NoSolutionFound:
                break
            if np.abs(step).max() < STEP_ENOUGH:
                break
            configuration.integrate_inplace(step * (LONGEST / max(LONGEST, np.abs(step).max())), 1.0)
        return configuration.q[self._addresses].copy()

    def _own_sites(self, joints: Sequence[int]) -> list[int]:
        """Sites on what the first of the joints carries: of several arms in a model each has its own."""
        model, root = self._model, self._model.jnt_bodyid[joints[0]]
        carried = {int(root)}
        for body in range(int(root) + 1, model.nbody):  # a body comes after its parent
            if int(model.body_parentid[body]) in carried:
                carried.add(body)
        return [number for number in range(model.nsite) if int(model.site_bodyid[number]) in carried]

    def _place(self, q: np.ndarray) -> mujoco.MjData:
        self._data.qpos[self._addresses] = q
        mujoco.mj_kinematics(self._model, self._data)
        return self._data


def limbs_of(config: RobotConfig) -> tuple[Limb, ...]:
    """The arms of a ``robot.yaml`` with their kinematics, all of one model; for one thread."""
    model = load_model(config.model)
    return tuple(
        Limb(Kinematics(model, arm.joints, arm.site, arm.base), own, arm.box)
        for arm, own in zip(config.arms, config.slices, strict=True)
    )
