"""Turns LIBERO's actions into end-effector poses, the way the simulator's controller moves the arm with them.

OSC_POSE takes an action as a goal *relative to where the end effector is*, and pulls it there like a critically damped
spring for one control period (1/20 s): it covers about a quarter of the step. A robot that follows positions exactly
would move four times as far as in training. So the same spring is run here, with a mass of its own, and the robot
follows that. Poses: position (3,) m and rotation matrix (3, 3), base frame.
"""

import numpy as np

from robot_bridge.config import OscConfig

SUBSTEPS = 25
"""Integration steps a control period; 2 ms at 20 Hz, as in the simulator."""


class OscReference:
    """The pose that LIBERO's controller would bring an ideal arm to."""

    def __init__(self, config: OscConfig, dt: float):
        self._config, self._dt = config, dt
        self._velocity, self._spin = np.zeros(3), np.zeros(3)
        self._goal_rotation: np.ndarray | None = None

    def advance(self, position: np.ndarray, rotation: np.ndarray, action: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The pose after one control period of ``action`` (>= 6,) in [-1, 1], from where the command is now."""
        config = self._config
        deltas = np.clip(action[:6], -1, 1)
        goal = position + config.position_scale * deltas[:3]
        # As the simulator does: an action without rotation keeps the goal of the last one that had it.
        if self._goal_rotation is None or np.abs(deltas[3:]).max() > 0:
            self._goal_rotation = rotation_matrix(config.rotation_scale * deltas[3:]) @ rotation
        step = self._dt / SUBSTEPS
        damping = 2 * np.sqrt(config.stiffness)
        position, rotation = position.copy(), rotation.copy()
        for _ in range(SUBSTEPS):
            self._velocity += step * (config.stiffness * (goal - position) - damping * self._velocity)
            position += step * self._velocity
            turn = rotation_vector(self._goal_rotation @ rotation.T)
            self._spin += step * (config.stiffness * turn - damping * self._spin)
            rotation = rotation_matrix(step * self._spin) @ rotation
        return position, rotation

    def rest(self) -> None:
        """The arm stands; the next action starts from rest."""
        self._velocity, self._spin = np.zeros(3), np.zeros(3)
        self._goal_rotation = None


def rotation_matrix(vector: np.ndarray) -> np.ndarray:
    """Rotation matrix of an axis-angle vector (3,) rad (Rodrigues' formula)."""
    angle = float(np.linalg.norm(vector))
    x, y, z = vector
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    if angle < 1e-9:
        return np.eye(3) + cross
    return np.eye(3) + np.sin(angle) / angle * cross + (1 - np.cos(angle)) / angle**2 * cross @ cross


def rotation_vector(matrix: np.ndarray) -> np.ndarray:
    """Axis-angle vector (3,) rad of a rotation matrix, by way of its quaternion so that half turns are fine."""
    quaternion = rotation_quaternion(matrix)
    sine = float(np.linalg.norm(quaternion[:3]))
    return 2 * np.arctan2(sine, quaternion[3]) / sine * quaternion[:3] if sine > 1e-12 else 2 * quaternion[:3]


def rotation_quaternion(matrix: np.ndarray) -> np.ndarray:
    """Quaternion (x, y, z, w), w >= 0, of a rotation matrix (Shepperd's method)."""
    m = matrix
    trace = float(np.trace(m))
    choice = int(np.argmax([m[0, 0], m[1, 1], m[2, 2], trace]))
    quaternion = np.empty(4)
    if choice == 3:
        quaternion[:3] = m[2, 1] - m[1, 2], m[0, 2] - m[2, 0], m[1, 0] - m[0, 1]
        quaternion[3] = 1 + trace
    else:
        i, j, k = choice, (choice + 1) % 3, (choice + 2) % 3
        quaternion[i] = 1 - trace + 2 * m[i, i]
        quaternion[j] = m[j, i] + m[i, j]
        quaternion[k] = m[k, i] + m[i, k]
        quaternion[3] = m[k, j] - m[j, k]
    quaternion /= np.linalg.norm(quaternion)
    return quaternion if quaternion[3] >= 0 else -quaternion
