"""Rotations as matrices (3, 3), axis-angle vectors (3,) rad and quaternions (x, y, z, w)."""

import numpy as np


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
