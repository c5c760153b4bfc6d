"""The distance that arms keep from each other: two whose hands are their joints, in frames that face each other."""

import numpy as np
import pytest

from common.joint_map import JointMap
from robot_bridge.safety import Limb, SafetyFilter
from robot_bridge.separation import Separation
from tests.robot_bridge.arms import DOF, LinearArm, safety_config

APART = 0.1


class Ball(LinearArm):
    """The hand is a ball of 2 cm radius."""

    radii = np.array([0.02])


class Opposite(Ball):
    """Stands 1 m away in x, turned by 180 degrees."""

    base = np.array([1.0, 0.0, 0.0]), np.diag([-1.0, -1.0, 1.0])


def both(one: list[float], other: list[float]) -> np.ndarray:
    """Joints of both arms, for hands (3,) m each in its own frame."""
    return np.concatenate([one, np.zeros(DOF - 3), other, np.zeros(DOF - 3)])


ARMS = [(Ball(), slice(0, DOF)), (Opposite(), slice(DOF, 2 * DOF))]


def test_a_gap_is_measured_between_the_outsides_in_one_frame():
    separation = Separation(APART, ARMS, both([0, 0, 0], [0, 0, 0]))
    path = np.stack([both([0.2, 0, 0], [0.3, 0, 0]), both([0.5, 0.3, 0], [0.5, 0.1, 0])])
    np.testing.assert_allclose(separation.gaps(path)[:, 0], [0.5 - 0.04, 0.4 - 0.04])


def test_a_path_on_which_they_would_meet_is_refused_although_both_its_ends_are_well():
    separation = Separation(APART, ARMS, both([0.5, -0.4, 0], [0.5, 0, 0]))
    passing = np.stack([both([0.5, -0.4, 0], [0.5, 0, 0]), both([0.5, 0.4, 0], [0.5, 0, 0])])
    assert not separation.admits(passing)
    assert separation.admits(passing[:1])


def test_arms_that_begin_too_near_may_part_and_not_come_back():
    near, far = both([0.5, -0.1, 0], [0.5, 0, 0]), both([0.5, -0.3, 0], [0.5, 0, 0])
    separation = Separation(APART, ARMS, near)
    parting = np.stack([near, far])
    assert separation.admits(parting)
    assert not separation.admits(np.stack([near, both([0.5, -0.09, 0], [0.5, 0, 0])]))
    separation.settle(far[None])
    assert not separation.admits(parting)


def test_one_arm_has_nobody_to_keep_from():
    separation = Separation(APART, ARMS[:1], np.zeros(DOF))
    assert separation.admits(np.zeros((3, DOF)))


@pytest.mark.parametrize("way", [[0.45, 0.0, 0.0], [0.45, 0.0, 0.2]])
def test_the_filter_stops_arms_that_would_meet_and_says_why(way: list[float]):
    names = ("lower", "upper", "velocity", "acceleration", "jerk", "step")
    config = safety_config(**{name: np.tile(getattr(safety_config(), name), 2) for name in names}, arms_apart=APART)
    keys = {"apply_sim_to_real_map": True, "real_dof": 2 * DOF, "sim_to_real_idx": list(range(2 * DOF))}
    limbs = [Limb(body, joints) for body, joints in ARMS]
    said: list[tuple[str, str]] = []
    chain = SafetyFilter(
        config,
        JointMap.from_config(keys, 2 * DOF),
        0.05,
        both([0, 0, 0], [0, 0, 0]),
        limbs,
        lambda *event: said.append(event),
    )
    separation = Separation(APART, ARMS, chain.q)
    least = np.inf
    for tick in range(100):
        chain.watchdog.fresh(tick * 0.05)
        chain.command(both(way, way), tick * 0.05)
        least = min(least, float(separation.gaps(chain.q[None])[0, 0]))
    assert least >= APART - 1e-9
    assert chain.interventions["arms_apart"]
    assert ("limited_arms_apart", "the arms would have come within 0.1 m of each other") in said
    for tick in range(100, 200):
        chain.watchdog.fresh(tick * 0.05)
        chain.command(both([0, 0, 0], [0, 0, 0]), tick * 0.05)
    np.testing.assert_allclose(chain.q, 0, atol=1e-6)
