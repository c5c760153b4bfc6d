"""The robot protocol: what goes in comes out, noise is dropped, repeated states are no states."""

from time import monotonic

import numpy as np
import pytest
import zmq
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import UserError
from robot_bridge.drivers.link import RobotLink
from robot_bridge.drivers.protocol import (
    CameraImage,
    ProtocolError,
    RobotState,
    Target,
    pack_image,
    pack_state,
    pack_target,
    unpack_image,
    unpack_state,
    unpack_target,
)
from tests.robot_bridge.policies import until


def state(sequence: int = 1, time: float = 0.5) -> RobotState:
    return RobotState(sequence, time, np.arange(7.0), -np.arange(7.0), np.array([0.04, -0.04]), "")


def test_messages_survive_the_journey():
    back = unpack_state(pack_state(state()), dof=7)
    np.testing.assert_array_equal(back.q, np.arange(7.0))
    np.testing.assert_array_equal(back.dq, -np.arange(7.0))
    assert (back.sequence, back.time, back.fault) == (1, 0.5, "")
    target = unpack_target(pack_target(Target(3, 9, np.arange(7.0), 0.02, stop=True)), dof=7)
    np.testing.assert_array_equal(target.q, np.arange(7.0))
    assert (target.session, target.sequence, target.opening, target.stop) == (3, 9, 0.02, True)
    pixels = np.random.default_rng(0).integers(0, 255, (4, 6, 3), dtype=np.uint8)
    image = unpack_image([bytes(frame) for frame in pack_image(CameraImage("wrist", 2, pixels))])
    assert image.name == "wrist"
    np.testing.assert_array_equal(image.pixels, pixels)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_target_that_is_not_finite_never_reaches_the_motors(value: float):
    with pytest.raises(ProtocolError, match="finite"):
        unpack_target(pack_target(Target(1, 1, np.full(7, value), 0.0)), dof=7)


def test_wrong_numbers_of_joints_and_pixels_are_refused():
    with pytest.raises(ProtocolError, match="6 numbers"):
        unpack_state(pack_state(state()), dof=6)
    frames = pack_image(CameraImage("wrist", 2, np.zeros((4, 6, 3), np.uint8)))
    with pytest.raises(ProtocolError, match="brings"):
        unpack_image([frames[0], frames[1], b"short"])


@given(frames=st.lists(st.binary(max_size=40), min_size=1, max_size=4))
@settings(max_examples=200)
def test_noise_is_a_protocol_error(frames: list[bytes]):
    for unpack in (lambda: unpack_state(frames, 7), lambda: unpack_target(frames[0], 7), lambda: unpack_image(frames)):
        with pytest.raises(ProtocolError):
            unpack()


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


@pytest.mark.parametrize("age", [-1.0, float("nan"), float("inf"), "old"])
def test_an_age_that_is_none_is_refused(age):
    frames = pack_image(CameraImage("front", 1, np.zeros((4, 4, 3), np.uint8), age))
    with pytest.raises(ProtocolError, match="age"):
        unpack_image(frames)


def test_what_never_came_is_named(robot):
    _, link = robot
    with pytest.raises(UserError, match="joint states, agentview"):
        link.wait(("agentview",), timeout=0.05)
