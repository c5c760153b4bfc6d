"""An ideal robot on real sockets, for the tests of the loop: it is at once where it is told to be."""

import threading
import time

import numpy as np
import zmq

from robot_bridge.drivers.protocol import CameraImage, RobotState, Target, pack_image, pack_state
from robot_bridge.drivers.reception import Reception
from tests.robot_bridge.arms import DOF, joint_map


class IdealRobot(threading.Thread):
    """Publishes at 200 Hz; ``targets`` is everything that it was told and took.

    ``silent``, ``blind``, ``deaf`` and ``fault`` may be set; its states are ``lag`` s late, and ``session`` is a loop
    that drives it beside the one in the test. ``start`` are its joints in its own order, by default the linear arm's.
    """

    def __init__(self, folder, start: np.ndarray | None = None):
        super().__init__(daemon=True)
        self.state_address, self.target_address = f"ipc://{folder}/state", f"ipc://{folder}/target"
        context = zmq.Context.instance()
        self._out, self._in = context.socket(zmq.PUB), context.socket(zmq.SUB)
        self._out.linger = 0
        self._in.subscribe(b"")
        self._out.bind(self.state_address)
        self._in.bind(self.target_address)
        self.q = joint_map().to_real(np.zeros(DOF)) if start is None else start
        self.targets: list[Target] = []
        self.reception = Reception(len(self.q))
        self.silent, self.blind, self.deaf, self.fault = False, False, False, ""
        self.lag, self.session = 0.0, 0
        self._end = threading.Event()
        self.start()

    def run(self) -> None:
        sequence, began = 0, time.monotonic()
        pixels = np.zeros((32, 32, 3), np.uint8)
        while not self._end.wait(0.005):
            now = time.monotonic() - began
            while self._in.poll(0):
                frame = self._in.recv()
                target = None if self.deaf else self.reception.take(frame, now)
                if target is not None:
                    self.targets.append(target)
                    self.q = target.q
            sequence += 1
            if not self.silent:
                receipt = (
                    self.reception.boot,
                    self.session or self.reception.session(now),
                    self.reception.last_sequence,
                )
                state = RobotState(
                    sequence, now - self.lag, self.q, np.zeros(len(self.q)), np.zeros(2), self.fault, *receipt
                )
                self._out.send_multipart(pack_state(state))
            if not self.blind and sequence % 4 == 0:
                for name in ("agentview", "eye_in_hand"):
                    self._out.send_multipart(pack_image(CameraImage(name, sequence, pixels)))
        self._out.close()
        self._in.close()

    def close(self) -> None:
        """Ends the thread."""
        self._end.set()
        self.join(5)
