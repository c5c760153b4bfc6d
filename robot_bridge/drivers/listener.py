"""Hears the states of a robot, of which nothing needs to be known; it has no socket to send anything to it."""

import time

import numpy as np
import zmq

from common.errors import UserError
from robot_bridge.drivers.protocol import STATE_TOPIC, ProtocolError, RobotState, unpack_state

SILENCE = 2.0
"""Seconds without a state after which a robot is lost; a person waits for it longer than a loop."""


class StateListener:
    """At ``address`` from construction to ``close``; for one thread.

    Raises:
        UserError: no state comes within ``timeout`` (s), or the robot is driven by a loop.
    """

    def __init__(self, address: str, timeout: float = 5.0):
        self._address, self._complaint = address, ""
        context: zmq.Context = zmq.Context.instance()
        self._socket = context.socket(zmq.SUB)
        self._socket.linger = 0
        self._socket.subscribe(STATE_TOPIC)
        try:
            self._socket.connect(address)
        except zmq.ZMQError as error:
            raise UserError(f"cannot connect to {address}: {error}; check state_address in robot.yaml") from None
        self.newest: RobotState | None = None
        self._heard_at = time.monotonic()
        ends = self._heard_at + timeout
        while self.newest is None:
            self._take(0.1)
            if self.newest is None and time.monotonic() > ends:
                self.close()
                hint = self._complaint or "is the driver running?"
                raise UserError(f"no states from {address} within {timeout:g} s; {hint}")

    def hear(self, seconds: float) -> list[RobotState]:
        """The states that have come since the last call, and come within ``seconds``.

        Raises:
            UserError: the robot has fallen silent, its driver was started anew, or a loop drives it.
        """
        states = self._take(seconds)
        if time.monotonic() - self._heard_at > SILENCE:
            raise UserError(f"no states from {self._address} for {SILENCE:g} s; is the driver running?")
        return states

    def close(self) -> None:
        """Ends the connection."""
        self._socket.close()

    def _take(self, seconds: float) -> list[RobotState]:
        states = []
        ends = time.monotonic() + seconds
        while self._socket.poll(max(0.0, ends - time.monotonic()) * 1000):
            try:
                state = unpack_state(self._socket.recv_multipart(), dof=None, fingers=None)
            except ProtocolError as error:
                self._complaint = f"refused: {error}"
                continue
            if self._is_new(state):
                self.newest, self._heard_at = state, time.monotonic()
                states.append(state)
            if time.monotonic() >= ends:
                break
        return states

    def _is_new(self, state: RobotState) -> bool:
        before = self.newest
        if state.session:
            raise UserError("a loop drives this robot; end that first, so that the arm can be guided by hand")
        if not (np.isfinite(state.q).all() and np.isfinite(state.fingers).all()):
            self._complaint = "its joint positions are not finite"
            return False
        if before is None:
            return True
        if state.boot != before.boot:
            raise UserError("the robot's driver was started anew; start again, too")
        if len(state.q) != len(before.q) or len(state.fingers) != len(before.fingers):
            raise UserError(f"the robot had {len(before.q)} joints, and now says {len(state.q)}; look at the driver")
        return state.sequence > before.sequence
