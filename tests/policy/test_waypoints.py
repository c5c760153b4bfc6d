"""Waypoints and the kinematics that they come from."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from demos.panda import panda_hand_pose
from policy.waypoints import displacements, next_changes


def test_the_hand_is_where_the_maker_says_it_is() -> None:
    """Panda's ready pose: its flange is 0.307 m ahead of and 0.487 m + 0.107 m above the base, looking down."""
    pose = panda_hand_pose(torch.tensor([0.0, -np.pi / 4, 0.0, -3 * np.pi / 4, 0.0, np.pi / 2, np.pi / 4]).double())
    x, y, z = pose[:3].tolist()
    assert abs(x - 0.3069) < 1e-3
    assert abs(y) < 1e-9
    assert abs(z - (0.5903 - 0.097)) < 1e-3
    np.testing.assert_allclose(pose[3:], [1, 0, 0, 0, -1, 0], atol=1e-6)


@given(st.lists(st.floats(-3, 3), min_size=7, max_size=7))
def test_the_axes_of_the_hand_are_a_rotation(joints: list[float]) -> None:
    pose = panda_hand_pose(torch.tensor(joints, dtype=torch.float64))
    axes = pose[3:].view(2, 3)
    torch.testing.assert_close(axes @ axes.T, torch.eye(2, dtype=torch.float64))


def test_half_precision_does_not_reach_the_kinematics() -> None:
    joints = torch.linspace(-2, 2, 7)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(panda_hand_pose(joints), panda_hand_pose(joints.double()).float())


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 1)), min_size=1, max_size=40), st.integers(1, 3))
def test_waypoints_lie_ahead_in_the_same_episode(steps: list[tuple[bool, int]], count: int) -> None:
    closing, new = np.array([c for c, _ in steps]), np.array([n for _, n in steps])
    episode = np.cumsum(new)
    found = next_changes(closing, episode, count)
    frames = np.arange(len(steps))[:, None]
    last = np.array([np.flatnonzero(episode == e)[-1] for e in episode])[:, None]
    assert found.shape == (len(steps), count)
    assert ((found > frames) | (found == last)).all()
    assert (episode[found] == episode[frames]).all()
    assert (np.diff(found, axis=1) >= 0).all()
    changes = found[found < last.repeat(count, 1)]
    assert (closing[changes] != closing[changes - 1]).all()


def test_a_hand_at_its_waypoint_has_nowhere_to_go() -> None:
    pose = panda_hand_pose(torch.rand(3, 7))
    assert not displacements(pose[:, None], pose).any()
