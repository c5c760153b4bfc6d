"""Rotations the experts need. Gripper frames: x is the closing axis of the fingers, z the approach direction."""

import numpy as np
from scipy.spatial.transform import Rotation

DOWN = np.array([0.0, 0.0, -1.0])
UP = np.array([0.0, 0.0, 1.0])
SIDEWAYS = np.array([0.0, 1.0, 0.0])
"""Closing axis of the arm's home orientation."""


class Unreachable(Exception):
    """The expert cannot go on: no grasp is reachable, or an object escaped it too often."""


def about_z(angle: float) -> np.ndarray:
    """Rotation matrix by ``angle`` rad about the world's vertical."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


def sideways(direction: np.ndarray) -> np.ndarray:
    """A horizontal direction turned by a quarter to the left."""
    return np.array([-direction[1], direction[0], 0.0])


def gripper_frame(closing: np.ndarray, approach: np.ndarray = DOWN) -> np.ndarray:
    """The gripper orientation ``(3, 3)`` that approaches along ``approach`` and closes nearest to ``closing``."""
    z = np.asarray(approach, dtype=float)
    z = z / np.linalg.norm(z)
    x = np.asarray(closing, dtype=float)
    x = x - z * (x @ z)
    x /= np.linalg.norm(x)
    return np.stack([x, np.cross(z, x), z], axis=1)


def rotation_vector(matrix: np.ndarray) -> np.ndarray:
    """Axis times angle (rad) of a rotation matrix."""
    return Rotation.from_matrix(matrix).as_rotvec()


def axis_difference(axis: np.ndarray, reference: np.ndarray) -> float:
    """Angle in the horizontal plane from ``reference`` to the undirected ``axis``, in [-pi/2, pi/2)."""
    angle = np.arctan2(axis[1], axis[0]) - np.arctan2(reference[1], reference[0])
    return float((angle + np.pi / 2) % np.pi - np.pi / 2)


def tilted(outward: np.ndarray, degrees: float) -> np.ndarray:
    """An approach direction that leans from straight down towards ``-outward`` by ``degrees``."""
    angle = np.deg2rad(degrees)
    return -outward * np.sin(angle) + DOWN * np.cos(angle)
