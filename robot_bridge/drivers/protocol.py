"""The messages between control loop and robot; docs/robot_protocol.md says the same for C++ programmers.

Robot to loop, PUB: frames ``[b"state", msgpack]`` and ``[b"camera.<name>", msgpack, pixels]``. Loop to robot, PUB into
the robot's SUB: one msgpack frame. Joints are in the robot's own order, sign, offset and unit.
"""

import math
from dataclasses import dataclass
from typing import Any

import msgpack
import numpy as np

VERSION = 2
STATE_TOPIC = b"state"
CAMERA_TOPIC = b"camera."
MAX_JOINTS, MAX_PIXELS, MAX_TEXT = 64, 4096 * 4096, 1000


class ProtocolError(ValueError):
    """A message that is not of the robot protocol; it is counted and dropped."""


@dataclass(frozen=True)
class RobotState:
    """What the robot measured. ``sequence`` grows with every measurement; ``time`` (s) is the robot's own clock.

    ``boot`` is a random number that the driver drew when it started. ``session`` and ``target`` are the receipt: the
    loop that it follows, 0 when there is none, and the last target that it took from it.
    """

    sequence: int
    time: float
    q: np.ndarray
    dq: np.ndarray
    fingers: np.ndarray
    """(f,) finger positions, m, gripper by gripper; two for a parallel hand, the second negative"""
    fault: str = ""
    """Why the robot stopped itself; empty while it is well."""
    boot: int = 0
    session: int = 0
    target: int = 0
    note: str = ""
    """What a person who starts a loop should know."""


@dataclass(frozen=True)
class Target:
    """Where the robot should be now. ``session`` names the loop that sends; a robot follows one at a time.

    ``boot`` is that of the states that the loop goes by, ``time`` (s) what the robot's own clock said when it sent.
    """

    session: int
    sequence: int
    q: np.ndarray
    openings: np.ndarray
    """(g,) position (m) of each finger, for each gripper"""
    stop: bool = False
    """The loop has latched a stop: ``q`` is its braking ramp, and once that stands the robot holds where it then is."""
    boot: int = 0
    time: float = 0.0


@dataclass(frozen=True)
class CameraImage:
    """One upright RGB image (h, w, 3) uint8."""

    name: str
    sequence: int
    pixels: np.ndarray
    age: float = 0.0
    """Seconds from exposure to sending, as far as the sender knows"""


def pack_state(state: RobotState) -> list[bytes]:
    """Frames of a state."""
    fields: dict[str, Any] = {"v": VERSION, "seq": state.sequence, "t": state.time, "fault": state.fault}
    fields |= {"q": state.q.tolist(), "dq": state.dq.tolist(), "fingers": state.fingers.tolist()}
    fields |= {"boot": state.boot, "session": state.session, "target": state.target}
    if state.note:
        fields["note"] = state.note
    return [STATE_TOPIC, msgpack.packb(fields)]


def unpack_state(frames: list[bytes], dof: int | None, fingers: int | None = 2) -> RobotState:
    """Checks everything but finiteness, which is the safety filter's to judge.

    ``dof`` and ``fingers`` are how many numbers there must be of each; None takes as many as there are.
    """
    fields = _fields(frames, 2)
    fault, note = fields.get("fault", ""), fields.get("note", "")
    if not isinstance(fault, str) or not isinstance(note, str):
        raise ProtocolError("fault and note must be text")
    return RobotState(
        _integer(fields, "seq"),
        _number(fields, "t"),
        _numbers(fields, "q", dof),
        _numbers(fields, "dq", dof),
        _numbers(fields, "fingers", fingers),
        fault[:MAX_TEXT],
        _integer(fields, "boot"),
        _integer(fields, "session"),
        _integer(fields, "target"),
        note[:MAX_TEXT],
    )


def pack_target(target: Target) -> bytes:
    """The frame of a target."""
    fields: dict[str, Any] = {"v": VERSION, "session": target.session, "seq": target.sequence, "stop": target.stop}
    fields |= {"boot": target.boot, "t": float(target.time)}
    openings = [float(opening) for opening in target.openings]
    opening = openings[0] if len(openings) == 1 else openings  # the one gripper's needs no list
    return msgpack.packb(fields | {"q": target.q.tolist(), "opening": opening})


def unpack_target(frame: bytes, dof: int, grippers: int = 1) -> Target:
    """Refuses what is not finite: a robot never gets to see it."""
    fields = _fields([b"", frame], 2)
    q, time = _numbers(fields, "q", dof), _number(fields, "t")
    openings = np.array([_number(fields, "opening")]) if grippers == 1 else _numbers(fields, "opening", grippers)
    if not (np.isfinite(q).all() and np.isfinite(openings).all() and math.isfinite(time)):
        raise ProtocolError("a target must be finite")
    session, sequence, boot = (_integer(fields, key) for key in ("session", "seq", "boot"))
    return Target(session, sequence, q, openings, fields.get("stop") is True, boot, time)


def pack_image(image: CameraImage) -> list[Any]:
    """Frames of an image."""
    height, width, _ = image.pixels.shape
    fields = {"v": VERSION, "seq": image.sequence, "height": height, "width": width, "age": image.age}
    return [CAMERA_TOPIC + image.name.encode(), msgpack.packb(fields), np.ascontiguousarray(image.pixels)]


def unpack_image(frames: list[bytes]) -> CameraImage:
    """The image is a view of its frame."""
    fields = _fields(frames, 3)
    height, width = _integer(fields, "height"), _integer(fields, "width")
    if not 0 < height * width <= MAX_PIXELS or height * width * 3 != len(frames[2]):
        raise ProtocolError(f"an image of {height} x {width} brings {len(frames[2])} bytes")
    age = _number(fields, "age") if "age" in fields else 0.0
    if not 0 <= age < math.inf:
        raise ProtocolError(f"age must be a number of seconds, 0 or more, not {age}")
    pixels = np.frombuffer(frames[2], np.uint8).reshape(height, width, 3)
    name = frames[0].removeprefix(CAMERA_TOPIC).decode("utf-8", "replace")
    return CameraImage(name, _integer(fields, "seq"), pixels, age)


def _fields(frames: list[bytes], count: int) -> dict[str, Any]:
    if len(frames) != count:
        raise ProtocolError(f"{len(frames)} frames instead of {count}")
    try:
        fields = msgpack.unpackb(frames[1], max_array_len=MAX_JOINTS, max_map_len=32, max_str_len=MAX_TEXT)
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise ProtocolError(f"not msgpack: {error}") from None
    if not isinstance(fields, dict) or fields.get("v") != VERSION:
        version = fields.get("v") if isinstance(fields, dict) else None
        raise ProtocolError(f"version {version!r} of the robot protocol; this is version {VERSION} (CHANGELOG.md)")
    return fields


def _number(fields: dict[str, Any], key: str) -> float:
    value = fields.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ProtocolError(f"{key} must be a number")
    return float(value)


def _integer(fields: dict[str, Any], key: str) -> int:
    value = fields.get(key)
    if type(value) is not int or value < 0:
        raise ProtocolError(f"{key} must be a whole number, 0 or more")
    return value


def _numbers(fields: dict[str, Any], key: str, count: int | None) -> np.ndarray:
    value = fields.get(key)
    if not isinstance(value, list) or not all(type(x) in (int, float) for x in value):
        raise ProtocolError(f"{key} must be a list of numbers")
    if count is not None and len(value) != count:
        raise ProtocolError(f"{key} must be {count} numbers, not {len(value)}")
    return np.array(value, np.float64)
