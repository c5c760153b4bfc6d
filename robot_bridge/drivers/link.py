"""The control loop's end of the two sockets: the newest state and images, read in a thread of its own."""

import logging
import secrets
import threading
import time
from collections import deque
from dataclasses import dataclass

import numpy as np
import zmq

from common.errors import UserError
from robot_bridge.drivers.protocol import (
    CAMERA_TOPIC,
    STATE_TOPIC,
    ProtocolError,
    RobotState,
    Target,
    pack_target,
    unpack_image,
    unpack_state,
)

MEMORY = 1.0
"""Seconds of states that are kept, to know what belongs to an image."""

log = logging.getLogger("robot_bridge.link")


@dataclass(frozen=True)
class Picture:
    """An image (h, w, 3) uint8 and the monotonic time (s) of this machine at which it was taken, so far as known."""

    pixels: np.ndarray
    at: float


@dataclass(frozen=True)
class Received:
    """A state and the monotonic time (s) of this machine at which it came."""

    state: RobotState
    at: float


class RobotLink:
    """Talks to the robot at its addresses. Only growing sequence numbers count as new: a robot that repeats itself is
    as lost as one that is silent. ``target`` belongs to one thread, everything else may be read from any.
    """

    def __init__(self, state_address: str, target_address: str, dof: int, camera_address: str | None = None):
        self._dof = dof
        self._session = secrets.randbits(53)
        self._sequence = 0
        self._state: Received | None = None
        self._past: deque[Received] = deque()
        self._images: dict[str, Picture] = {}
        self._news = threading.Condition()
        self._closing = threading.Event()
        self.malformed = 0
        context: zmq.Context = zmq.Context.instance()
        self._states, self._targets = context.socket(zmq.SUB), context.socket(zmq.PUB)
        for socket in (self._states, self._targets):
            socket.setsockopt(zmq.LINGER, 0)
        self._states.setsockopt(zmq.RCVHWM, 100)
        self._states.setsockopt(zmq.MAXMSGSIZE, 64 << 20)
        self._targets.setsockopt(zmq.SNDHWM, 2)  # a robot that is away must not find a queue of old targets
        for topic in (STATE_TOPIC, CAMERA_TOPIC):
            self._states.subscribe(topic)
        try:
            for address in {state_address, camera_address or state_address}:
                self._states.connect(address)
            self._targets.connect(target_address)
        except zmq.ZMQError as error:
            raise UserError(f"cannot connect to the robot: {error}; check the addresses in robot.yaml") from None
        self._thread = threading.Thread(target=self._read, name="robot-link", daemon=True)
        self._thread.start()

    def state(self) -> Received | None:
        """The newest state."""
        return self._state

    def state_at(self, when: float) -> Received | None:
        """The last state that had come by ``when`` (monotonic s), or the oldest that is still known."""
        with self._news:
            for received in reversed(self._past):
                if received.at <= when:
                    return received
            return self._past[0] if self._past else None

    def images(self) -> dict[str, Picture]:
        """The newest image of each camera."""
        with self._news:
            return dict(self._images)

    def wait(self, cameras: tuple[str, ...], timeout: float) -> None:
        """Waits for a first state and first images; ``UserError`` says what never came."""
        with self._news:
            if not self._news.wait_for(lambda: self._state and not set(cameras) - set(self._images), timeout):
                missing = ([] if self._state else ["joint states"]) + sorted(set(cameras) - set(self._images))
                here = f"; there are images of {sorted(self._images)}" if self._images else ""
                raise UserError(
                    f"no {', '.join(missing)} from the robot within {timeout:g} s{here}; is it running, "
                    "and are addresses and cameras in robot.yaml right?"
                )

    def target(self, q: np.ndarray, opening: float, stop: bool) -> None:
        """Sends a target, robot's order and unit; never waits."""
        self._sequence += 1
        self._targets.send(pack_target(Target(self._session, self._sequence, q, opening, stop)), zmq.NOBLOCK)

    def close(self) -> None:
        """Ends the thread and the connections."""
        self._closing.set()
        self._thread.join(2)
        self._targets.close()

    def _read(self) -> None:
        while not self._closing.is_set():
            if not self._states.poll(50):
                continue
            frames = self._states.recv_multipart()
            try:
                self._take(frames)
            except ProtocolError as error:
                self.malformed += 1
                log.warning("message from the robot dropped: %s", error)
        self._states.close()

    def _take(self, frames: list[bytes]) -> None:
        if frames[0] == STATE_TOPIC:
            state = unpack_state(frames, self._dof)
            known = self._state
            # A robot that was restarted counts from the beginning and its clock may too.
            if known is not None and state.sequence <= known.state.sequence and state.time <= known.state.time:
                return
            now = time.monotonic()
            with self._news:
                self._state = Received(state, now)
                self._past.append(self._state)
                while self._past[0].at < now - MEMORY:
                    self._past.popleft()
                self._news.notify_all()
        else:
            image = unpack_image(frames)
            with self._news:
                self._images[image.name] = Picture(image.pixels, time.monotonic() - image.age)
                self._news.notify_all()
