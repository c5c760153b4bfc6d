"""The robot protocol: what goes in comes out, and noise is dropped."""

import msgpack
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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


def state(sequence: int = 1, time: float = 0.5) -> RobotState:
    return RobotState(sequence, time, np.arange(7.0), -np.arange(7.0), np.array([0.04, -0.04]), "", 11, 12, 13)


def test_messages_survive_the_journey():
    back = unpack_state(pack_state(state()), dof=7)
    np.testing.assert_array_equal(back.q, np.arange(7.0))
    np.testing.assert_array_equal(back.dq, -np.arange(7.0))
    assert (back.sequence, back.time, back.fault) == (1, 0.5, "")
    assert (back.boot, back.session, back.target) == (11, 12, 13)
    target = unpack_target(
        pack_target(Target(3, 9, np.arange(7.0), np.array([0.02]), stop=True, boot=11, time=4.5)), dof=7
    )
    assert (target.boot, target.time) == (11, 4.5)
    np.testing.assert_array_equal(target.q, np.arange(7.0))
    assert (target.session, target.sequence, *target.openings, target.stop) == (3, 9, 0.02, True)
    pixels = np.random.default_rng(0).integers(0, 255, (4, 6, 3), dtype=np.uint8)
    image = unpack_image([bytes(frame) for frame in pack_image(CameraImage("wrist", 2, pixels))])
    assert image.name == "wrist"
    np.testing.assert_array_equal(image.pixels, pixels)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_target_that_is_not_finite_never_reaches_the_motors(value: float):
    with pytest.raises(ProtocolError, match="finite"):
        unpack_target(pack_target(Target(1, 1, np.full(7, value), np.zeros(1))), dof=7)


def test_an_older_version_is_named():
    with pytest.raises(ProtocolError, match=r"version 1 .* this is version 2"):
        unpack_state([b"state", msgpack.packb({"v": 1})], dof=7)


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


@pytest.mark.parametrize("age", [-1.0, float("nan"), float("inf"), "old"])
def test_an_age_that_is_none_is_refused(age):
    frames = pack_image(CameraImage("front", 1, np.zeros((4, 4, 3), np.uint8), age))
    with pytest.raises(ProtocolError, match="age"):
        unpack_image(frames)
