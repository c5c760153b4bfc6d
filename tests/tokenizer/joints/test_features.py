"""Features and the motion back from them: exact where the layout holds everything."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from demos.motion import Motion, make_motion
from tests.tokenizer.joints.examples import motion
from tokenizer.joints.features import features_of, motion_of, smoothed, velocities
from tokenizer.joints.options import FeatureConfig


def tumbling(seed: int, frames: int = 30) -> Motion:
    """A root that turns about everything, quaternions of either sign."""
    rng = np.random.default_rng(seed)
    turn = Rotation.from_rotvec(np.cumsum(rng.normal(0, 0.2, (frames, 3)), axis=0)).as_quat()
    turn *= rng.choice([-1, 1], (frames, 1))
    return make_motion("tumbling", 30, rng.normal(size=(frames, 3)), rng.normal(size=(frames, 3)), turn)


def assert_same(ours: Motion, theirs: Motion, tolerance: float = 1e-5) -> None:
    np.testing.assert_allclose(ours.joints, theirs.joints, atol=tolerance)
    np.testing.assert_allclose(ours.root_pos, theirs.root_pos, atol=tolerance)
    turns = [Rotation.from_quat(m.root_rot.astype(np.float64)) for m in (ours, theirs)]
    assert (turns[0] * turns[1].inv()).magnitude().max() <= tolerance


@given(seed=st.integers(0, 10_000), frames=st.integers(2, 80))
def test_a_root_on_the_plane_comes_back_from_its_displacements(seed: int, frames: int) -> None:
    original = motion(seed, frames=frames)
    config = FeatureConfig()
    assert_same(motion_of(features_of(original, config), config, 30, start=original), original)


@given(seed=st.integers(0, 10_000), expmap=st.booleans())
def test_any_motion_comes_back_from_its_states(seed: int, expmap: bool) -> None:
    original = tumbling(seed)
    config = FeatureConfig("state", prefer_expmap=expmap)
    assert_same(motion_of(features_of(original, config), config, 30), original)


def test_small_rotations_are_not_lost() -> None:
    yaw = np.arange(20) * 1e-4
    turn = Rotation.from_euler("z", yaw[:, None]).as_quat()
    slow = make_motion("slow", 30, np.zeros((20, 1)), root_rot=turn)
    np.testing.assert_allclose(velocities(slow, FeatureConfig()).angular[:, 2], 3e-3, rtol=0.01)


@pytest.mark.parametrize("frames", [5, 18, 19, 40])
def test_smoothing_that_renormalises_keeps_what_is_constant(frames: int) -> None:
    constant = np.ones((frames, 2))
    np.testing.assert_allclose(smoothed(constant, "renormalise"), constant)
    assert smoothed(constant, "source")[0, 0] == pytest.approx(min(frames, 10) / 19)
    varied = np.random.default_rng(0).normal(size=(frames, 2))
    same = slice(9, frames - 9)
    np.testing.assert_allclose(smoothed(varied, "renormalise")[same], smoothed(varied, "source")[same])
