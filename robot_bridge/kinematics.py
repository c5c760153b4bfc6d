"""Forward and inverse kinematics of an arm from its own MJCF or URDF, by mink (differential inverse kinematics).

The only part of the control loop that needs MuJoCo; it is imported when a loop starts, never by the client.
"""

from collections.abc import Sequence

import mink
import mujoco
import numpy as np

from robot_bridge.config import RobotConfigError
from robot_bridge.rotations import rotation_quaternion

ITERATIONS = 8
POSITION_ENOUGH, ROTATION_ENOUGH = 1e-4, 1e-3
"""An error below this (m, rad) needs no further iteration."""
POSTURE_COST = 1e-3


class Kinematics:
    """The end effector ``site`` of an arm. Joints (n,) rad in the order of ``joints``; poses in the base's frame."""

    def __init__(self, model: mujoco.MjModel, joints: Sequence[str], site: str, base: str | None = None):
        try:
            addresses = [int(model.joint(name).qposadr[0]) for name in joints]
            self._site = model.site(site).id
            self._base = model.body(base).id if base is not None else 0
        except KeyError as error:
            raise RobotConfigError(f"the robot's model does not have that: {error}") from None
        self._addresses = np.array(addresses)
        self._configuration = mink.Configuration(model)
        self._target = mink.FrameTask(site, "site", position_cost=1.0, orientation_cost=0.3)
        self._posture = mink.PostureTask(model, cost=POSTURE_COST)
        self._limits = [mink.ConfigurationLimit(model)]

    def pose(self, q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Position (3,) m and rotation (3, 3) of the end effector at ``q``."""
        self._update(q)
        data = self._configuration.data
        base = data.xmat[self._base].reshape(3, 3)
        return base.T @ (data.site_xpos[self._site] - data.xpos[self._base]), base.T @ data.site_xmat[
            self._site
        ].reshape(3, 3)

    def position(self, q: np.ndarray) -> np.ndarray:
        """Position (3,) m of the end effector at ``q``."""
        return self.pose(q)[0]

    def solve(self, position: np.ndarray, rotation: np.ndarray, q: np.ndarray) -> np.ndarray:
        """Joints near ``q`` that bring the end effector to a pose, as near as the joints' ranges allow."""
        self._update(q)
        configuration = self._configuration
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
            velocity = mink.solve_ik(configuration, tasks, 1.0, "daqp", damping=1e-4, limits=self._limits)
            configuration.integrate_inplace(velocity, 1.0)
        return configuration.q[self._addresses].copy()

    def joints_at(self, position: np.ndarray, q: np.ndarray) -> np.ndarray:
        """Joints near ``q`` that bring the end effector to ``position`` with the orientation it has at ``q``."""
        return self.solve(position, self.pose(q)[1], q)

    def _update(self, q: np.ndarray) -> None:
        full = self._configuration.q.copy()
        full[self._addresses] = q
        self._configuration.update(full)
