"""An arm whose kinematics can be done in the head, and a configuration for it, for the tests of filter and loop."""

import numpy as np

from common.joint_map import JointMap
from robot_bridge.config import ArmConfig, OscConfig, RobotConfig, SafetyConfig

DOF = 7


class LinearArm:
    """End effector position = the first three joints, in metres; the orientation never changes."""

    radii = np.zeros(1)
    base = np.zeros(3), np.eye(3)

    def pose(self, q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return q[:3].copy(), np.eye(3)

    def centres(self, path: np.ndarray) -> np.ndarray:
        return path[:, None, :3]

    def depth(self, rotation: np.ndarray) -> float:
        return 0.0

    def solve(
        self, position: np.ndarray, rotation: np.ndarray, q: np.ndarray, lower: np.ndarray, upper: np.ndarray
    ) -> np.ndarray:
        return np.concatenate([position, q[3:]])


class LinearReference:
    """The hand of the linear arm goes a quarter of the way, as LIBERO's does, and does not turn."""

    joints = np.zeros(DOF)

    def advance(
        self, position: np.ndarray, rotation: np.ndarray, action: np.ndarray, joints: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        return position + 0.25 * 0.05 * np.clip(action[:3], -1, 1), rotation

    def rest(self) -> None:
        pass

    def joint_step(self, action: np.ndarray) -> np.ndarray:
        return 0.25 * 0.05 * action[:3]  # the linear arm's joints are the hand's place


def safety_config(**changes) -> SafetyConfig:
    """Limits of which each joint has its own."""
    values = {
        "lower": np.linspace(-1.0, -1.6, DOF),
        "upper": np.linspace(1.0, 1.6, DOF),
        "velocity": np.linspace(1.0, 2.0, DOF),
        "acceleration": np.linspace(5.0, 10.0, DOF),
        "jerk": np.linspace(100.0, 200.0, DOF),
        "step": np.full(DOF, 0.2),
        "workspace_lower": np.full(3, -0.5),
        "workspace_upper": np.full(3, 0.5),
        "workspace_floor": -0.5,
        "soft_start_seconds": 0.2,
        **changes,
    }
    return SafetyConfig(**values)


def joint_map() -> JointMap:
    """Another order, signs and offsets."""
    config = {
        "apply_sim_to_real_map": True,
        "real_dof": DOF,
        "sim_to_real_idx": [6, 3, 0, 5, 1, 4, 2],
        "sign": [1, -1, 1, -1, -1, 1, 1],
        "offset": [0.5, 0, -0.2, 0.1, 0, 0.3, -1],
    }
    return JointMap.from_config(config, DOF)


def robot_config(state_address: str, target_address: str, **changes) -> RobotConfig:
    """A robot with the linear arm."""
    values = {
        "name": "test",
        "arms": (ArmConfig("arm", tuple(f"joint{number}" for number in range(DOF)), "none"),),
        "state_address": state_address,
        "target_address": target_address,
        "model": "none",
        "mode": "osc_delta",
        "safety": safety_config(),
        "joint_map": joint_map(),
        "osc": OscConfig(),
        **changes,
    }
    return RobotConfig(**values)
