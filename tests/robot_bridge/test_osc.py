"""The arm of the training as a reference: it goes where LIBERO's arm goes."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("mink")
pytest.importorskip("robosuite")

from robot_bridge.config import OscConfig
from robot_bridge.kinematics import Kinematics
from robot_bridge.models import load_model
from robot_bridge.osc import SITE, OscReference
from robot_bridge.panda import HOME, JOINTS
from robot_bridge.rotations import rotation_vector

STILL = np.array([0, 0, 0, 0, 0, 0, -1.0])


@pytest.fixture(scope="module")
def home() -> tuple[np.ndarray, np.ndarray]:
    return Kinematics(load_model("robosuite:panda"), JOINTS, SITE, "base").pose(np.array(HOME))


def run(home: tuple[np.ndarray, np.ndarray], actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Positions (t, 3) and rotations (t, 3, 3) that the actions lead to."""
    reference, pose, path = OscReference(OscConfig(), 0.05), home, []
    for action in actions:
        pose = reference.advance(*pose, action)
        path.append(pose)
    return np.stack([position for position, _ in path]), np.stack([rotation for _, rotation in path])


def wandering(seed: int, steps: int) -> np.ndarray:
    """Smooth random actions (t, 7), as policies give them."""
    noise = np.random.default_rng(seed).normal(size=(steps, 6))
    smooth = np.stack([np.convolve(column, np.ones(8) / 4, mode="same") for column in noise.T], axis=1)
    smooth[:, 3:] *= 0.2
    return np.concatenate([np.clip(smooth, -1, 1), -np.ones((steps, 1))], axis=1)


@pytest.mark.parametrize("seed", [0, 2])
def test_the_hand_goes_where_libero_s_goes(seed: int, libero_assets: Path):
    from sim.libero.env import LiberoEnv

    env = LiberoEnv("libero_object", 0, assets=libero_assets)
    env.restart(seed=0)
    for _ in range(20):
        env.advance(STILL)
    hand, base = env.data.site("gripper0_grip_site"), env.data.body("robot0_base")
    reference = OscReference(OscConfig(), 0.05)
    pose = hand.xpos - base.xpos, hand.xmat.reshape(3, 3).copy()
    for action in wandering(seed, 60):
        pose = reference.advance(*pose, action)
        env.advance(action)
        np.testing.assert_allclose(pose[0], hand.xpos - base.xpos, atol=0.0015)
        assert np.linalg.norm(rotation_vector(pose[1] @ hand.xmat.reshape(3, 3).T)) < 0.004
    assert np.ptp(env.data.qpos[:7]) > 0.1
    env.close()


def test_a_constant_action_covers_about_a_quarter_of_each_step(home):
    path, _ = run(home, np.tile([0, 1.0, 0, 0, 0, 0, 0], (30, 1)))
    assert 0.22 * 0.05 < np.diff(path[:, 1])[-1] < 0.29 * 0.05


def test_still_actions_come_to_rest(home):
    path, rotations = run(home, np.concatenate([np.tile([0, 0, 0, 0, 0, 0.5, 0], (20, 1)), np.tile(STILL, (40, 1))]))
    assert rotation_vector(rotations[-1] @ home[1].T)[2] > 0.3
    assert np.abs(path[-1] - path[-2]).max() < 1e-4


def test_actions_beyond_one_count_as_one(home):
    np.testing.assert_array_equal(run(home, np.full((3, 7), 9.0))[0], run(home, np.ones((3, 7)))[0])


def test_what_two_actions_differ_in_takes_the_joints_as_far_apart_as_it_says(home):
    rng = np.random.default_rng(0)
    for _ in range(5):
        common, difference = rng.uniform(-0.4, 0.4, 7), rng.uniform(-0.3, 0.3, 6)
        one, other = (OscReference(OscConfig(), 0.05) for _ in range(2))
        for reference in (one, other):
            reference.advance(*home, common)
        pose = one.advance(*home, common)[0], other.advance(*home, common + np.append(difference, 0))[0]
        told = one.joint_step(difference)
        assert np.abs(other.joints - one.joints).max() == pytest.approx(np.abs(told).max(), rel=0.3)
        assert np.linalg.norm(pose[0] - pose[1]) > 1e-4


def test_the_reference_follows_a_robot_that_was_held_back(home):
    reference = OscReference(OscConfig(), 0.05)
    reference.advance(*home, np.array([0, 1.0, 0, 0, 0, 0, 0]))
    reference.rest()
    elsewhere = home[0] + [0.05, -0.05, 0.02]
    position, rotation = reference.advance(elsewhere, home[1], STILL)
    np.testing.assert_allclose(position, elsewhere, atol=2e-3)
    np.testing.assert_allclose(rotation, home[1], atol=2e-2)


def test_the_reference_takes_over_the_elbow_of_a_panda_that_was_moved_by_hand(home):
    kinematics = Kinematics(load_model("robosuite:panda"), JOINTS, SITE, "base")
    reference = OscReference(OscConfig(), 0.05)
    reference.advance(*home, STILL, np.array(HOME))
    moved = np.add(HOME, [0.3, 0.1, -0.3, 0.2, 0.1, 0.0, 0.1])
    reference.rest()
    reference.advance(*kinematics.pose(moved), STILL, moved)
    np.testing.assert_allclose(reference.joints, moved, atol=0.02)


def test_a_hand_that_is_sent_beyond_the_arm_s_reach_stays_in_reach(home):
    reference = OscReference(OscConfig(), 0.05)
    for direction in ([1, 0, 0], [1, 0.3, 1], [-1, 0, -1]):
        pose = home
        for _ in range(120):
            pose = reference.advance(*pose, np.array([*direction, 0, 0, 0, -1.0]))
            assert np.linalg.norm(pose[0] - [0, 0, 0.333]) < 1.0
            np.testing.assert_allclose(pose[1] @ pose[1].T, np.eye(3), atol=1e-6)
