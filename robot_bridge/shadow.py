"""The digital shadow: the twin's world beside an arm, real or simulated, that goes where this arm's driver says it is.

The world's own servos take joints and fingers there, so its things are touched, held and carried; its cameras publish
what they see as ``robot_bridge.camera`` does. It is ``python -m robot_bridge.twin --follow``.
"""

import threading
import time

import numpy as np

from common.errors import UserError
from robot_bridge.actions import openings
from robot_bridge.camera import open_socket, send
from robot_bridge.config import RobotConfig
from robot_bridge.drivers.link import Received, RobotLink
from robot_bridge.twin_robot import twin_of
from robot_bridge.twin_world import World, beats

PATIENCE = 10.0
"""Seconds to wait for the arm's first state."""
SILENCE = 0.1
"""Seconds without a state after which the arm is taken to stand where it was last."""


class Shadow:
    """Follows the robot of ``config`` until ``stop``, in the ``scene`` of a file; publishes at its ``camera_address``.

    It only listens to the robot. One whose driver was started anew is followed on.

    Raises:
        UserError: ``config`` has no ``camera_address``, or it cannot be had; the robot does not say where it is.
    """

    def __init__(self, config: RobotConfig, image_size: int = 128, camera_rate: float = 20.0, scene: str | None = None):
        if config.camera_address is None:
            raise UserError(f"the robot.yaml of {config.name} has no camera_address, where images are to be published")
        self.config, self._camera_rate = config, camera_rate
        self._robot = twin_of(config)
        self.world = World(self._robot, scene, image_size)
        self._socket = open_socket(config.camera_address)
        self._stopping = threading.Event()
        addresses = config.state_address, config.target_address
        self._link = RobotLink(*addresses, config.joint_map.real_dof, fingers=config.fingers)
        self._link.wait((), PATIENCE)
        self.world.place(self._goal(np.zeros(len(config.joints)))[0])

    def run(self) -> None:
        """At the arm's side, in real time; cameras are rendered in a thread beside it."""
        film = (self._camera_rate, self._stopping)
        camera = threading.Thread(target=self.world.film, args=film, name="cameras", daemon=True)
        if self._camera_rate > 0:
            camera.start()
        for _ in beats(self._stopping):
            if self._link.restarted:
                self._link.adopt()
            self.world.step(*self._goal(self.world.servo_lag))
            for source in self.world.cameras:
                send(source, self._socket)
        if camera.is_alive():
            camera.join(5)
        self._link.close()
        self._socket.close(linger=0)

    def stop(self) -> None:
        """Ends ``run``."""
        self._stopping.set()

    def _goal(self, ahead: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where the servos are to go, joints (n,) rad and grippers (g,): where the arm will be ``ahead`` (n,) s from
        now."""
        received = self._link.state()
        assert isinstance(received, Received)
        state, age = received.state, time.monotonic() - received.at
        wiring, grippers = self._robot.wiring, self._robot.grippers
        q = wiring.to_sim(state.q, self._robot.home)
        if age < SILENCE:
            q = q + wiring.velocity_to_sim(state.dq) * (age + ahead)
        ends = np.array([sorted((gripper.closed, gripper.open)) for gripper in grippers]).reshape(-1, 2)
        return q, np.clip(openings(grippers, state.fingers), ends[:, 0], ends[:, 1])
