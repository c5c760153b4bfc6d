"""Rotations that are rotations, there and back."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from robot_bridge.rotations import rotation_matrix, rotation_quaternion, rotation_vector

vectors = st.lists(st.floats(-1.7, 1.7), min_size=3, max_size=3).map(np.array)


@given(vector=vectors)
@settings(max_examples=60)
def test_rotation_vector_and_matrix_are_inverse(vector: np.ndarray):
    matrix = rotation_matrix(vector)
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(rotation_vector(matrix), vector, atol=1e-7)
    quaternion = rotation_quaternion(matrix)
    assert np.isclose(np.linalg.norm(quaternion), 1)
    assert np.isclose(2 * np.arccos(min(1, quaternion[3])), np.linalg.norm(vector), atol=1e-6)


def test_a_half_turn_keeps_its_axis():
    np.testing.assert_allclose(np.abs(rotation_vector(np.diag([1.0, -1, -1]))), [np.pi, 0, 0], atol=1e-12)
