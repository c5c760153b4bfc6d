"""The loop's end of the two sockets: the newest counts, and repeated states are no states."""

from time import monotonic, sleep

import msgpack
import numpy as np
import pytest
import zmq

from common.errors import UserError
from robot_bridge.drivers.link import RobotLink
from robot_bridge.drivers.protocol import CameraImage, RobotState, pack_image, pack_state
from tests.robot_bridge.policies import until


def state(sequence: int, time: float, boot: int = 0, session: int = 0, target: int = 0) -> RobotState:
    fingers = np.array([0.04, -0.04])
    return RobotState(sequence, time, np.arange(7.0), -np.arange(7.0), fingers, "", boot, session, target)


@pytest.fixture
def robot(tmp_path):
    """A robot's publishing socket and the link to it."""
    context = zmq.Context.instance()
    out = context.socket(zmq.PUB)
    out.linger = 0
    out.bind(f"ipc://{tmp_path}/state")
    link = RobotLink(f"ipc://{tmp_path}/state", f"ipc://{tmp_path}/target", dof=7)
    yield out, link
    link.close()
    out.close()


def test_the_newest_state_wins_and_repeated_ones_do_not_count(robot):
    out, link = robot

    def arrived(sequence: int) -> bool:
        out.send_multipart(pack_state(state(sequence, sequence / 100)))
        return link.state() is not None and link.state().state.sequence == sequence

    until(lambda: arrived(5))
    first = link.state()
    out.send_multipart([b"state", b"noise"])
    for _ in range(3):
        out.send_multipart(pack_state(state(5, 0.05)))  # a frozen robot repeats itself
        out.send_multipart(pack_state(state(4, 0.04)))
    until(lambda: link.malformed == 1)
    assert link.state() is first
    until(lambda: arrived(6))


def test_an_image_comes_with_the_time_it_was_taken_and_the_state_of_that_time(robot):
    out, link = robot
    pixels = np.zeros((4, 4, 3), np.uint8)

    def arrived() -> bool:
        out.send_multipart(pack_image(CameraImage("front", 1, pixels, age=0.2)))
        return "front" in link.images()

    until(arrived)
    assert 0.2 <= monotonic() - link.images()["front"].at < 0.5
    came = []
    for sequence in (1, 2, 3):
        out.send_multipart(pack_state(state(sequence, sequence)))
        until(lambda sequence=sequence: link.state() is not None and link.state().state.sequence == sequence)
        came.append(monotonic())
    assert [link.state_at(when).state.sequence for when in (0.0, *came)] == [1, 1, 2, 3]


def publish(robot, *states: RobotState) -> None:
    """Sends them, and waits until the link has seen the last."""
    out, link = robot
    until(lambda: out.send_multipart(pack_state(state(0, 0.0, states[0].boot))) or link.state() is not None)
    for each in states:
        out.send_multipart(pack_state(each))
    seen = link.malformed
    out.send_multipart([b"state", b"noise"])
    until(lambda: link.malformed > seen)


def test_a_driver_that_was_started_anew_counts_only_once_it_is_adopted(robot):
    _, link = robot
    publish(robot, state(900, 9.0, boot=1), state(1, 0.01, boot=2), state(2, 0.02, boot=2))
    assert link.restarted
    assert link.state().state.sequence == 900
    link.adopt()
    assert not link.restarted
    assert link.state().state.sequence == 2
    publish(robot, state(3, 0.03, boot=2))
    assert link.state().state.sequence == 3


def test_a_state_that_was_long_under_way_is_as_old_as_it_is(robot):
    _, link = robot
    publish(robot, state(1, 100.0))
    began = monotonic()
    publish(robot, state(2, 100.0 + monotonic() - began - 0.5))
    assert link.state().delay == pytest.approx(0.5, abs=0.1)
    assert monotonic() - link.state().at == pytest.approx(0.5, abs=0.1)


def test_targets_without_a_receipt_are_noticed(robot):
    _, link = robot
    publish(robot, state(1, 1.0))
    assert link.unreceived() == 0
    for _ in range(3):
        link.target(np.zeros(7), np.zeros(1), stop=False)
    session = link.session
    publish(robot, state(2, 2.0, session=session, target=3))
    assert link.unreceived() == 0
    assert link.received
    link.target(np.zeros(7), np.zeros(1), stop=False)
    sleep(0.3)
    publish(robot, state(3, 3.0, session=session, target=3))
    assert link.unreceived() >= 0.3
    link.adopt()
    assert link.unreceived() == 0


def test_a_robot_that_follows_another_loop_is_occupied(robot):
    _, link = robot
    publish(robot, state(1, 1.0, session=77))
    assert link.occupied
    with pytest.raises(UserError, match="another loop drives this robot"):
        link.wait_until_free(0.05)
    publish(robot, state(2, 1.1))
    link.wait_until_free(0.05)


def test_a_driver_of_another_version_is_named(robot):
    out, link = robot
    old = [b"state", msgpack.packb({"v": 1, "seq": 1})]
    until(lambda: out.send_multipart(old) or link.malformed > 0)
    with pytest.raises(UserError, match="refused: version 1 of the robot protocol"):
        link.wait((), timeout=0.05)


def test_what_never_came_is_named(robot):
    _, link = robot
    with pytest.raises(UserError, match="joint states, agentview"):
        link.wait(("agentview",), timeout=0.05)
