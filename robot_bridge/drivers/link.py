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
from robot_bridge.config import RobotConfig
from robot_bridge.drivers.clock import RemoteClock
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
    """A state, the monotonic time (s) of this machine at which it was measured, so far as known, and how late it came.

    ``delay`` (s) is counted from the quickest state so far.
    """

    state: RobotState
    at: float
    delay: float = 0.0


class RobotLink:
    """Talks to the robot at its addresses. Only growing sequence numbers count as new: a robot that repeats itself is
    as lost as one that is silent, and so is a driver that was started anew, until ``adopt``.

    ``dof`` and ``fingers`` are how many numbers its states have of each.
    ``target``, ``unreceived`` and ``adopt`` belong to one thread, everything else may be read from any.
    """

    def __init__(
        self,
        state_address: str,
        target_address: str,
        dof: int,
        camera_address: str | None = None,
        fingers: int = 2,
    ):
        self._dof, self._fingers = dof, fingers
        self.session = secrets.randbits(53) or 1
        self._sequence = 0
        self._sent: deque[tuple[int, float]] = deque()  # targets without a receipt, and when they were sent
        self._clock = RemoteClock()
        self._state: Received | None = None
        self._restarted: RobotState | None = None
        self._past: deque[Received] = deque()
        self._images: dict[str, Picture] = {}
        self._news = threading.Condition()
        self._closing = threading.Event()
        self.malformed = 0
        self._complaint = ""
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

    @classmethod
    def to(cls, config: RobotConfig) -> "RobotLink":
        """To the robot of a ``robot.yaml``."""
        addresses = config.state_address, config.target_address
        return cls(*addresses, config.joint_map.real_dof, config.camera_address, config.fingers)

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
                here += f"; refused: {self._complaint}" if self._complaint else ""
                raise UserError(
                    f"no {', '.join(missing)} from the robot within {timeout:g} s{here}; is it running, "
                    "and are addresses and cameras in robot.yaml right?"
                )

    def wait_until_free(self, timeout: float = 1.0) -> None:
        """Waits until no other loop drives the robot; ``UserError`` when one goes on."""
        with self._news:
            if not self._news.wait_for(lambda: not self.occupied, timeout):
                raise UserError("another loop drives this robot; end that one first, or look on with --dry-run")

    def target(self, q: np.ndarray, openings: np.ndarray, stop: bool) -> None:
        """Sends a target, robot's order and unit, with an opening (g,) for each gripper; never waits."""
        assert self._state is not None, "wait for the link first"
        now = time.monotonic()
        self._sequence += 1
        self._sent.append((self._sequence, now))
        boot = self._state.state.boot
        target = Target(self.session, self._sequence, q, openings, stop, boot, self._clock.there(now))
        self._targets.send(pack_target(target), zmq.NOBLOCK)

    def unreceived(self) -> float:
        """For how long (s), by its newest state, the robot has not taken a target, though some were sent."""
        assert self._state is not None, "wait for the link first"
        state, came = self._state.state, self._state.at + self._state.delay
        taken = state.target if state.session == self.session else 0
        while self._sent and self._sent[0][0] <= taken:
            self._sent.popleft()
        return max(0.0, came - self._sent[0][1]) if self._sent else 0.0

    @property
    def received(self) -> bool:
        """Whether the robot follows this loop."""
        return self._state is not None and self._state.state.session == self.session

    @property
    def note(self) -> str:
        """What the robot has to say to a person who starts a loop."""
        return "" if self._state is None else self._state.state.note

    @property
    def occupied(self) -> bool:
        """Whether the robot follows another loop."""
        return self._state is not None and self._state.state.session not in (0, self.session)

    @property
    def restarted(self) -> bool:
        """Whether the robot's driver was started anew: its states do not count until ``adopt``."""
        return self._restarted is not None

    def adopt(self) -> None:
        """Begins anew with the robot as it is, also with a driver that was started anew. For a person to say."""
        with self._news:
            if self._restarted is not None:
                self._clock = RemoteClock()
                self._past.clear()
                self._keep(self._restarted)
                self._restarted = None
        self._sent.clear()

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
                self._complaint = str(error)
                log.warning("message from the robot dropped: %s", error)
        self._states.close()

    def _take(self, frames: list[bytes]) -> None:
        if frames[0] == STATE_TOPIC:
            state = unpack_state(frames, self._dof, self._fingers)
            with self._news:
                known = None if self._state is None else self._state.state
                if known is not None and state.boot != known.boot:
                    self._restarted = state
                elif known is None or state.sequence > known.sequence:
                    self._keep(state)
                    self._news.notify_all()
        else:
            image = unpack_image(frames)
            with self._news:
                self._images[image.name] = Picture(image.pixels, time.monotonic() - image.age)
                self._news.notify_all()

    def _keep(self, state: RobotState) -> None:
        now = time.monotonic()
        delay = self._clock.delay(state.time, now)
        self._state = Received(state, now - delay, delay)
        self._past.append(self._state)
        while len(self._past) > 1 and self._past[0].at < now - MEMORY:
            self._past.popleft()
