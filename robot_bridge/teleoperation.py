"""A person moves the hand: keys or a gamepad become actions such as a policy's, and go through the same loop.

An action is LIBERO's: translation and rotation of the hand in the base's frame, and the gripper. Forward is away from
the base.
"""

import struct
import threading
import time
from collections.abc import Callable
from typing import Protocol

import numpy as np

from common.conventions import ACTION_DIM, HORIZON
from common.errors import UserError
from robot_bridge.asker import Ask, Observation

HELD = 0.3
"""Seconds for which a press moves the hand; a key that is held down repeats sooner than that."""
MOTIONS = {
    "up": (0, 1.0),
    "down": (0, -1.0),
    "left": (1, 1.0),
    "right": (1, -1.0),
    "w": (2, 1.0),
    "s": (2, -1.0),
    "v": (3, 1.0),
    "b": (3, -1.0),
    "t": (4, 1.0),
    "g": (4, -1.0),
    "a": (5, 1.0),
    "d": (5, -1.0),
}
"""Key -> number of the action, and its sign."""
KEYBOARD = "arrows: forward, back, left, right   w s: up, down   a d: turn   t g: tilt   v b: roll   space: gripper"
GAMEPAD = "left stick: forward, back, left, right   right stick: up, down, turn   A: gripper   Start: ends it"
AXES = {0: (1, -1.0), 1: (0, -1.0), 3: (5, -1.0), 4: (2, -1.0)}
"""Axis of a gamepad -> number of the action, and its sign; up and left are negative there."""
GRIPPER_BUTTON, END_BUTTON = 0, 7
DEAD_ZONE = 0.15
_EVENT = struct.Struct("IhBB")
_BUTTON, _AXIS, _INITIAL = 0x01, 0x02, 0x80


class Teleoperation(Protocol):
    """Something that a person moves the hand with."""

    keys: str
    """What they do, in a line."""

    def action(self, now: float) -> np.ndarray:
        """What the person wants (7,) in [-1, 1] at monotonic time ``now`` (s)."""
        ...

    def press(self, key: str) -> None:
        """A key of the keyboard; from any thread."""
        ...

    def begin(self) -> None:
        """A new episode: nothing moves, and the gripper is open."""
        ...


def as_chunks(person: Teleoperation) -> Ask:
    """A policy's place taken by a person: chunks (horizon, 7) that go on with what is wanted now."""

    def ask(observation: Observation) -> np.ndarray:
        return np.tile(person.action(time.monotonic()), (HORIZON, 1))

    return ask


class KeyboardTeleoperation:
    """Keys; ``speed`` is the share of the largest action that a press is."""

    keys = KEYBOARD

    def __init__(self, speed: float):
        self._speed = speed
        self._pressed: dict[str, float] = {}
        self._gripper = -1.0

    def begin(self) -> None:
        """See ``Teleoperation``."""
        self._pressed, self._gripper = {}, -1.0

    def press(self, key: str) -> None:
        """See ``Teleoperation``."""
        key = key.lower()
        if key == "space":
            self._gripper = -self._gripper
        elif key in MOTIONS:
            self._pressed[key] = time.monotonic()

    def action(self, now: float) -> np.ndarray:
        """See ``Teleoperation``."""
        action = np.zeros(ACTION_DIM)
        for key, at in self._pressed.copy().items():
            if now - at < HELD:
                number, sign = MOTIONS[key]
                action[number] += sign * self._speed
        action[-1] = self._gripper
        return action


class GamepadTeleoperation:
    """A gamepad behind Linux's joystick interface, ``/dev/input/js0``.

    ``end`` is called when Start is pressed, and when the gamepad is unplugged.

    Raises:
        UserError: there is none at ``device``.
    """

    keys = GAMEPAD

    def __init__(self, device: str, speed: float, end: Callable[[], None]):
        try:
            self._file = open(device, "rb", buffering=0)  # noqa: SIM115 (read as long as the process lives)
        except OSError as error:
            raise UserError(
                f"no gamepad at {device} ({error.strerror}); plug one in, or name it with --device"
            ) from None
        self._speed, self._axes, self._gripper, self._end = speed, dict.fromkeys(AXES, 0.0), -1.0, end
        threading.Thread(target=self._read, name="gamepad", daemon=True).start()

    def begin(self) -> None:
        """See ``Teleoperation``."""
        self._gripper = -1.0

    def press(self, key: str) -> None:
        """Keys move nothing here."""

    def action(self, now: float) -> np.ndarray:
        """See ``Teleoperation``."""
        action = np.zeros(ACTION_DIM)
        for axis, value in self._axes.items():
            number, sign = AXES[axis]
            if abs(value) > DEAD_ZONE:
                action[number] = sign * self._speed * value
        action[-1] = self._gripper
        return action

    def _read(self) -> None:
        while len(event := self._file.read(_EVENT.size) or b"") == _EVENT.size:
            _, value, kind, number = _EVENT.unpack(event)
            if kind & _AXIS and number in self._axes:
                self._axes[number] = value / 32767
            elif kind == _BUTTON and value and number == GRIPPER_BUTTON:
                self._gripper = -self._gripper
            elif kind == _BUTTON and value and number == END_BUTTON:
                self._end()
        self._axes = dict.fromkeys(AXES, 0.0)  # unplugged: nothing moves any more
        self._end()
