"""The box: walls for the end effector, a floor for every part of the arm, and a way back in."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robot_bridge.workspace import INSET, SPACING, Workspace, densified
from tests.robot_bridge.arms import DOF, LinearArm, safety_config


class LongHand(LinearArm):
    """A hand that reaches .1 m below the end effector, and an elbow (radius .05 m) as high as the fourth joint."""

    radii = np.array([0.0, 0.0, 0.05])

    def centres(self, path: np.ndarray) -> np.ndarray:
        hand = path[:, :3]
        elbow = np.stack([0 * path[:, 3], 0 * path[:, 3], path[:, 3]], axis=1)
        return np.stack([hand, hand - [0, 0, 0.1], elbow], axis=1)

    def depth(self, rotation: np.ndarray) -> float:
        return 0.1


def at(*joints: float) -> np.ndarray:
    return np.pad(np.array(joints, float), (0, DOF - len(joints)))


def box(start: np.ndarray, arm: LinearArm | None = None) -> Workspace:
    return Workspace(safety_config(workspace_lower=-np.ones(3), workspace_upper=np.ones(3)), arm or LongHand(), start)


def test_walls_are_for_the_end_effector_and_the_floor_is_for_all():
    workspace = box(at(0, 0, 0, 0))  # the floor is at -.5
    assert workspace.admits(np.stack([at(0.9, -0.9, -0.3, -0.4)]))
    assert not workspace.admits(np.stack([at(1.1, 0, 0, 0)]))
    assert not workspace.admits(np.stack([at(0, 0, -0.45, 0)]))  # the tip of the hand
    assert not workspace.admits(np.stack([at(0, 0, 0, -0.46)]))  # the elbow


def test_one_bad_place_on_the_way_is_enough():
    assert not box(at(0)).admits(np.stack([at(0), at(1.1), at(0)]))


def test_a_path_is_looked_at_between_its_points():
    class Bent(LinearArm):
        """The hand leaves the box half way between the joints 0 and 1."""

        def centres(self, path: np.ndarray) -> np.ndarray:
            return np.stack([1.05 * np.sin(np.pi * path[:, 0]), 0 * path[:, 0], 0 * path[:, 0]], axis=1)[:, None]

    assert not box(at(0), Bent()).admits(np.stack([at(0), at(1)]))


@given(seed=st.integers(0, 2**32), length=st.integers(1, 8))
def test_what_is_looked_at_lies_on_the_path_and_is_nowhere_far_apart(seed: int, length: int):
    path = np.random.default_rng(seed).normal(0, 0.1, (length, DOF))
    dense = densified(path)
    assert (np.abs(np.diff(dense, axis=0)).sum(axis=1) <= SPACING + 1e-12).all()
    np.testing.assert_array_equal(dense[0], path[0])
    for point in path:
        assert np.abs(dense - point).sum(axis=1).min() < 1e-12
    lengths = [np.abs(np.diff(points, axis=0)).sum() for points in (path, dense)]
    assert lengths[0] == pytest.approx(lengths[1])


def test_an_arm_that_starts_outside_may_come_back_and_go_no_further():
    workspace = box(at(1.3))
    assert workspace.admits(np.stack([at(1.3), at(1.2)]))
    assert not workspace.admits(np.stack([at(1.3), at(1.31)]))
    assert not workspace.admits(np.stack([at(1.3), at(1.2, 1.1)]))  # inside of one wall, out of another
    workspace.settle(np.stack([at(1.2), at(1.1)]))
    assert workspace.admits(np.stack([at(1.2)]))
    assert not workspace.admits(np.stack([at(1.21)]))
    workspace.settle(np.stack([at(0.9)]))
    assert not workspace.admits(np.stack([at(1.01)]))


def test_wishes_are_moved_inside_hand_and_all():
    workspace = box(at(0))
    np.testing.assert_allclose(workspace.nearest(np.array([2, 0.1, -3.0]), np.eye(3)), [1 - INSET, 0.1, -0.4 + INSET])
    np.testing.assert_array_equal(workspace.nearest(np.array([0.2, 0.1, 0]), np.eye(3)), [0.2, 0.1, 0])
    np.testing.assert_allclose(workspace.nearest(np.array([2.0, 0, 0]), np.eye(3), at_most=0.05), [1.95, 0, 0])
