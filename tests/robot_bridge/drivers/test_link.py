"""The loop's end of the two sockets: the newest counts, and repeated states are no states."""

from time import monotonic

import numpy as np
import pytest
import zmq

from common.errors import UserError
from robot_bridge.drivers.link import RobotLink
from robot_bridge.drivers.protocol import CameraImage, RobotState, pack_image, pack_state
from tests.robot_bridge.policies import until


def state(sequence: int = 1, time: float = 0.5) -> RobotState:
    return RobotState(sequence, time, np.arange(7.0), -np.arange(7.0), np.array([0.04, -0.04]), "")


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


def test_what_never_came_is_named(robot):
    _, link = robot
    with pytest.raises(UserError, match="joint states, agentview"):
        link.wait(("agentview",), timeout=0.05)
