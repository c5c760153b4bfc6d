"""The servo's reference between targets, when they cease, and on the loop's braking ramp."""

import numpy as np
import pytest

from robot_bridge.drivers.protocol import Target
from robot_bridge.drivers.reference import Reference

HOME = np.array([0.5, -1.0])
PERIOD, BRAKING = 0.05, 5.0


def reference() -> Reference:
    return Reference(HOME, PERIOD, np.array([2.0, 2.0]), BRAKING)


def target(q: np.ndarray, stop: bool = False) -> Target:
    return Target(1, 1, q, np.array([0.04]), stop)


def test_it_goes_straight_to_a_target_within_a_period():
    servo = reference()
    assert servo.resting
    goal = HOME + np.array([0.02, -0.01])
    servo.follow(target(goal), 1.0, HOME)
    for share in (0.0, 0.5, 1.0):
        np.testing.assert_allclose(servo.at(1.0 + share * PERIOD)[0], HOME + share * (goal - HOME))
    np.testing.assert_allclose(servo.at(1.0)[1], [0.4, -0.2])


def test_no_joint_is_faster_than_its_limit_and_all_stay_in_proportion():
    servo = reference()
    servo.follow(target(HOME + np.array([1.0, 0.5])), 1.0, HOME)
    np.testing.assert_allclose(servo.at(1.0)[1], [2.0, 1.0])


def test_when_targets_cease_it_brakes_within_its_limit_without_a_jump():
    servo = reference()
    servo.follow(target(HOME + np.array([0.05, 0.0])), 0.0, HOME)
    times = np.arange(0, 0.5, 0.001)
    q = np.array([servo.at(now)[0][0] for now in times])
    speed = np.array([servo.at(now)[1][0] for now in times])
    np.testing.assert_allclose(np.diff(q) / 0.001, (speed[1:] + speed[:-1]) / 2, atol=1e-6)
    assert np.abs(np.diff(speed)).max() < BRAKING * 0.001 + 1e-9
    assert speed[-1] == 0.0


def test_a_lost_loop_leaves_it_resting_where_the_arm_then_is_once_that_stands():
    servo = reference()
    servo.follow(target(HOME + np.array([0.01, 0.0])), 0.0, HOME)
    servo.lose()
    servo.settle(0.06, np.zeros(2))
    assert not servo.resting  # the reference still moves
    servo.settle(1.0, np.array([0.1, 0.0]))
    assert not servo.resting  # the arm still moves
    servo.settle(1.1, np.zeros(2))
    assert servo.resting
    where = HOME + np.array([0.3, 0.3])
    servo.follow(target(where), 2.0, where)
    np.testing.assert_allclose(servo.at(2.0)[0], where)


def test_the_loop_s_ramp_is_followed_to_its_end_and_then_nothing_moves_it_before_a_reset():
    servo = reference()
    servo.follow(target(HOME + np.array([0.02, 0.0])), 0.0, HOME)
    servo.follow(target(HOME + np.array([0.03, 0.0]), stop=True), PERIOD, HOME)
    end = HOME + np.array([0.035, 0.0])
    for tick in range(2, 8):
        servo.follow(target(end, stop=True), tick * PERIOD, HOME)
    servo.settle(1.0, np.zeros(2))
    assert servo.resting
    servo.follow(target(end, stop=True), 1.0, HOME)
    assert servo.resting
    servo.follow(target(HOME), 1.05, HOME)
    assert not servo.resting


@pytest.mark.parametrize("moving", [True, False])
def test_after_a_fault_a_ramp_does_not_move_it_and_a_reset_does(moving: bool):
    servo = reference()
    if moving:
        servo.follow(target(HOME + np.array([0.02, 0.0])), 0.0, HOME)
    servo.abandon()
    assert servo.resting
    for tick in range(3):
        servo.follow(target(HOME + np.array([0.01 * tick, 0.0]), stop=True), 1.0 + tick * PERIOD, HOME)
        assert servo.resting
    servo.follow(target(HOME), 2.0, HOME)
    assert not servo.resting
