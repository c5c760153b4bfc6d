"""An ideal robot on real sockets, for the tests of the loop: it is at once where it is told to be."""

import threading

import numpy as np
import zmq

from robot_bridge.drivers.protocol import CameraImage, RobotState, Target, pack_image, pack_state, unpack_target
from tests.robot_bridge.arms import DOF, joint_map


class IdealRobot(threading.Thread):
    """Publishes at 200 Hz; ``targets`` is everything it was told. ``silent`` and ``fault`` may be set."""

    def __init__(self, folder):
        super().__init__(daemon=True)
        self.state_address, self.target_address = f"ipc://{folder}/state", f"ipc://{folder}/target"
        context = zmq.Context.instance()
        self._out, self._in = context.socket(zmq.PUB), context.socket(zmq.SUB)
        self._out.linger = 0
        self._in.subscribe(b"")
        self._out.bind(self.state_address)
        self._in.bind(self.target_address)
        self.q = joint_map().to_real(np.zeros(DOF))
        self.targets: list[Target] = []
        self.silent, self.blind, self.fault = False, False, ""
        self._end = threading.Event()
        self.start()

    def run(self) -> None:
        sequence = 0
        pixels = np.zeros((32, 32, 3), np.uint8)
        while not self._end.wait(0.005):
            while self._in.poll(0):
                self.targets.append(unpack_target(self._in.recv(), DOF))
                self.q = self.targets[-1].q
            sequence += 1
            if not self.silent:
                state = RobotState(sequence, sequence * 0.005, self.q, np.zeros(DOF), np.zeros(2), self.fault)
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
