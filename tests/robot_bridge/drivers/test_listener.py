"""Hearing a robot of which nothing is known, and never speaking to it."""

import numpy as np
import pytest

from common.errors import UserError
from robot_bridge.drivers.listener import StateListener
from tests.robot_bridge.robots import IdealRobot


@pytest.fixture
def robot(tmp_path):
    robot = IdealRobot(tmp_path, start=np.arange(11.0))
    yield robot
    robot.close()


@pytest.fixture
def listener(robot):
    listener = StateListener(robot.state_address)
    yield listener
    listener.close()


def test_a_robot_of_any_number_of_joints_is_heard(robot, listener):
    states = listener.hear(0.2)
    assert len(states) > 5
    np.testing.assert_array_equal(states[-1].q, np.arange(11.0))
    assert not robot.targets


def test_a_robot_that_a_loop_drives_is_left_alone(robot, listener):
    robot.session = 5
    with pytest.raises(UserError, match="a loop drives this robot"):
        listener.hear(0.5)


def test_positions_that_are_no_numbers_do_not_count(robot, listener):
    robot.q = np.full(11, np.nan)
    listener.hear(0.1)
    assert listener.hear(0.1) == []


def test_a_driver_that_was_started_anew_is_noticed(robot, listener):
    robot.reception.boot += 1
    with pytest.raises(UserError, match="started anew"):
        listener.hear(0.5)


def test_a_robot_that_says_nothing_is_named(robot):
    robot.silent = True
    with pytest.raises(UserError, match=r"no states from ipc.* within 0\.2 s; is the driver running"):
        StateListener(robot.state_address, timeout=0.2)


def test_a_robot_that_falls_silent_is_named(robot, listener):
    robot.silent = True
    with pytest.raises(UserError, match=r"no states from .* for 2 s"):
        listener.hear(2.2)
