"""What a person's keys and sticks become."""

import os
import pty
import struct
import termios
import threading
import time

import numpy as np
import pytest

from common.errors import UserError
from robot_bridge.asker import Observation
from robot_bridge.key_presses import ENDED, KeyPresses
from robot_bridge.teleoperation import HELD, GamepadTeleoperation, KeyboardTeleoperation, as_chunks
from tests.robot_bridge.policies import until


def test_a_press_moves_the_hand_for_a_moment_and_several_add_up():
    person = KeyboardTeleoperation(speed=0.5)
    person.press("up")
    person.press("W")
    now = time.monotonic()
    np.testing.assert_array_equal(person.action(now), [0.5, 0, 0.5, 0, 0, 0, -1])
    np.testing.assert_array_equal(person.action(now + HELD), [0, 0, 0, 0, 0, 0, -1])
    person.press("up")
    person.press("down")
    assert person.action(time.monotonic())[0] == 0


def test_the_gripper_shuts_and_opens_and_is_open_in_a_new_episode():
    person, grips = KeyboardTeleoperation(0.5), []
    for key in ("space", "space", "space"):
        person.press(key)
        grips.append(person.action(0.0)[-1])
    assert grips == [1, -1, 1]
    person.begin()
    assert person.action(0.0)[-1] == -1


def test_a_person_answers_as_a_policy_does():
    person = KeyboardTeleoperation(0.5)
    person.press("left")
    chunk = as_chunks(person)(Observation(0, 0.0, np.zeros((0, 1, 1, 3)), np.zeros(7), np.zeros(2)))
    assert chunk.shape == (16, 7)
    assert (chunk[:, 1] == 0.5).all()


def event(value: int, kind: int, number: int) -> bytes:
    """As Linux's joystick interface sends it."""
    return struct.pack("IhBB", 0, value, kind, number)


def test_a_gamepad_s_sticks_move_the_hand_its_buttons_grip_and_end_and_unplugged_it_stands_still(tmp_path):
    device = tmp_path / "js0"
    os.mkfifo(device)
    plugged: list[int] = []
    opener = threading.Thread(target=lambda: plugged.append(os.open(device, os.O_WRONLY)))
    opener.start()
    ended: list[str] = []
    pad = GamepadTeleoperation(str(device), speed=0.5, end=lambda: ended.append("end"))
    opener.join(10)
    os.write(plugged[0], event(-32767, 0x82, 1) + event(16384, 0x02, 0) + event(2000, 0x02, 3) + event(1, 0x01, 0))
    until(lambda: pad.action(0.0)[-1] == 1)
    np.testing.assert_allclose(pad.action(0.0), [0.5, -0.25, 0, 0, 0, 0, 1], atol=1e-4)
    os.write(plugged[0], event(1, 0x01, 7))
    until(lambda: ended == ["end"])
    os.close(plugged[0])
    until(lambda: len(ended) == 2)
    assert (pad.action(0.0)[:6] == 0).all()


def test_a_gamepad_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UserError, match=r"no gamepad at .*js7.*--device"):
        GamepadTeleoperation(str(tmp_path / "js7"), 0.5, end=lambda: None)


def test_keys_need_no_enter_and_a_terminal_is_afterwards_as_it_was():
    ours, theirs = pty.openpty()
    before = termios.tcgetattr(theirs)
    heard: list[str] = []
    with KeyPresses(theirs) as keys:
        os.write(ours, b"s\x1b[A")
        assert [keys.next(10), keys.next(10)] == ["s", "up"]
        assert keys.next(0.01) is None
        with keys.during(heard.append):
            os.write(ours, b" \x1b[D")
            until(lambda: heard == ["space", "left"])
        os.write(ours, b"x")
        until(lambda: not keys._line.empty())
        keys.forget()
        os.write(ours, b"y")
        assert keys.next(10) == "y"
    assert termios.tcgetattr(theirs) == before
    os.close(ours)
    os.close(theirs)


def test_the_end_of_a_pipe_is_told():
    reading, writing = os.pipe()
    with KeyPresses(reading) as keys:
        os.write(writing, b"q")
        os.close(writing)
        assert [keys.next(10), keys.next(10)] == ["q", ENDED]
    os.close(reading)
