"""LIBERO's controller, run as a reference: how far an action goes, and rotations that are rotations."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from robot_bridge.config import OscConfig
from robot_bridge.osc import OscReference, rotation_matrix, rotation_quaternion, rotation_vector

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


def run(actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    reference = OscReference(OscConfig(), 0.05)
    position, rotation = np.zeros(3), np.eye(3)
    path = []
    for action in actions:
        position, rotation = reference.advance(position, rotation, action)
        path.append(position.copy())
    return np.array(path), rotation


def test_a_constant_action_moves_at_the_spring_s_steady_speed():
    path, _ = run(np.tile([1.0, 0, 0, 0, 0, 0, 0], (40, 1)))
    per_tick = np.diff(path[:, 0])[-1]
    # v = k (goal - x) / c averaged over one period, in the steady state: about 27 % of 0.05 m.
    assert 0.25 * 0.05 < per_tick < 0.29 * 0.05


def test_rotations_turn_about_their_axis_and_zero_actions_come_to_rest():
    actions = np.zeros((60, 7))
    actions[:20, 5] = 0.5
    path, rotation = run(actions)
    turned = rotation_vector(rotation)
    assert turned[2] > 0.3
    np.testing.assert_allclose(turned[:2], 0, atol=1e-9)
    np.testing.assert_allclose(path, 0)


def test_actions_beyond_one_count_as_one():
    np.testing.assert_array_equal(run(np.full((3, 7), 9.0))[0], run(np.ones((3, 7)))[0])
