"""The driver of a Universal Robots arm (CB3 from 3.3, e-Series) and a Robotiq gripper, by ur-rtde.

The arm follows by servoJ; while it stands its own controller holds it. Then, elsewhere:
python -m robot_bridge.run --robot robot.yaml

While it runs, type: recover (the cause of a fault is gone) | quit
"""

import contextlib
import logging
import socket
import threading
import time
from typing import Any

import numpy as np

from common.cli import CommandParser, run
from common.errors import UserError
from robot_bridge.drivers.driver import PERIOD, ArmFault, Measured, add_options, serve

VELOCITY = np.full(6, 2.0)
"""Rad/s; a UR5e allows 3.14."""
BRAKING = 5.0
"""Rad/s^2, of joints and of servoStop."""
LOOKAHEAD, GAIN = 0.05, 500.0
"""Seconds (0.03 to 0.2) and gain (100 to 2000) of servoJ: smoothing and stiffness."""
WATCHDOG = 4.0
"""Hz below which the controller ends the control program and brakes: this process, its PC or the cable is gone."""
SILENCE = 0.1
"""Seconds after which an arm whose clock stands still is out of reach."""
REASON = 0.05
"""Seconds after which an arm whose program has ended has also said why."""
RUNNING, NORMAL, REDUCED = 7, 1, 2
"""Robot mode and safety modes in which an arm moves."""
SAFETY_MODES = {
    3: "protective stop",
    4: "recovery mode",
    5: "safeguard stop",
    6: "system emergency stop",
    7: "emergency stop",
    8: "violation",
    9: "fault",
    11: "safety state not known",
}
ROBOTIQ_PORT, STROKE = 63352, 0.085
"""Where the Robotiq URCap listens, and the way (m) between the open fingers of a 2F-85."""


class RobotiqGripper:
    """A Robotiq gripper behind its URCap's socket, in a thread of its own; positions are bytes, 0 open, 255 closed."""

    def __init__(self, host: str, force: int, port: int = ROBOTIQ_PORT, stroke: float = STROKE):
        self._socket = socket.create_connection((host, port), 2.0)
        self._socket.settimeout(2.0)
        self._stroke, self._told = stroke, -1
        self._wish: float | None = None
        self._ask(f"SET ACT 1 GTO 1 SPE 255 FOR {force}")
        self.width = self._measure()
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._work, name="gripper", daemon=True)
        self._thread.start()

    def want(self, width: float) -> None:
        """The width (m) between the fingers from now on."""
        self._wish = width

    def close(self) -> None:
        """Leaves the fingers as they are."""
        self._ends.set()
        self._thread.join(2)
        self._socket.close()

    def _work(self) -> None:
        while not self._ends.wait(0.02):
            try:
                self.width = self._measure()
                if self._wish is None:
                    continue
                place = round(255 * (1 - min(max(self._wish / self._stroke, 0.0), 1.0)))
                if place != self._told:
                    self._ask(f"SET POS {place}")
                    self._told = place
            except (OSError, ValueError) as error:  # the arm can go on without; its width just stays as it was
                logging.getLogger("robot_bridge.driver").warning("the gripper: %s", error)

    def _measure(self) -> float:
        return self._stroke * (1 - int(self._ask("GET POS").split()[-1]) / 255)

    def _ask(self, line: str) -> str:
        self._socket.sendall(f"{line}\n".encode())
        return self._socket.recv(1024).decode()


class UrArm:
    """An arm at ``host``, powered on with its brakes released; ``robot_bridge.drivers.driver.Arm``.

    ``control`` False only looks on: nothing is sent to the arm. ``gripper`` False: there is no Robotiq gripper.

    Raises:
        UserError: ur-rtde is missing.
        ArmFault: nobody answers at ``host``, or it is not in remote control.
    """

    velocity, braking = VELOCITY, BRAKING

    def __init__(self, host: str, *, control: bool = True, gripper: bool = True, gripper_force: int = 100):
        try:
            import dashboard_client
            import rtde_control
            import rtde_receive
        except ImportError:
            raise UserError("the package ur-rtde is missing: pip install 'amplify-deploy[ur]'") from None
        self._modules = rtde_control.RTDEControlInterface, rtde_receive.RTDEReceiveInterface
        self._dashboard_class = dashboard_client.DashboardClient
        self._host, self._controls = host, control
        self._control: Any = None
        self._receive: Any = None
        self._steering = False
        self._clock, self._seen = -1.0, time.monotonic()
        self._connect()
        try:
            self._gripper = RobotiqGripper(host, gripper_force) if gripper else None
        except (OSError, ValueError) as error:
            raise ArmFault(f"no Robotiq gripper at {host}: {error}; --no-gripper does without") from None

    def measure(self) -> Measured:
        """From the newest packet of the real-time interface."""
        receive, now = self._receive, time.monotonic()
        clock = receive.getTimestamp()
        if clock != self._clock:
            self._clock, self._seen = clock, now
        elif now - self._seen > SILENCE or not receive.isConnected():
            raise ArmFault(f"the arm: no new state for {SILENCE:g} s")
        self._check_mode()
        if self._control is not None:
            try:
                if not self._control.isProgramRunning():
                    time.sleep(REASON)
                    self._check_mode()
                    raise ArmFault("the arm: its control program has ended")
                if not self._steering:
                    self._control.kickWatchdog()
            except RuntimeError as error:
                raise ArmFault(f"the arm: {error}") from None
        half = self._gripper.width / 2 if self._gripper is not None else 0.0
        return Measured(np.array(receive.getActualQ()), np.array(receive.getActualQd()), np.array([half, -half]))

    def _check_mode(self) -> None:
        safety, mode = self._receive.getSafetyMode(), self._receive.getRobotMode()
        if safety not in (NORMAL, REDUCED):
            raise ArmFault(f"the arm: {SAFETY_MODES.get(safety, f'safety mode {safety}')}")
        if mode != RUNNING:
            raise ArmFault(f"the arm: it is not running (robot mode {mode}); power it on and release its brakes")

    def steer(self, q: np.ndarray, dq: np.ndarray) -> None:
        """servoJ to ``q``."""
        self._steering = True
        self._do(lambda control: control.servoJ(q.tolist(), 0.0, 0.0, PERIOD, LOOKAHEAD, GAIN))

    def rest(self) -> None:
        """Ends servoing; the controller holds."""
        self._steering = False
        self._do(lambda control: control.servoStop(BRAKING))

    def fingers(self, opening: float) -> None:
        """Opens or closes the gripper."""
        if self._gripper is not None:
            self._gripper.want(2 * opening)

    def recover(self) -> None:
        """Unlocks a protective stop (5 s after it at the earliest) and starts the control program anew."""
        self._steering = False
        with self._dashboard() as dashboard:
            try:
                dashboard.closeSafetyPopup()
                dashboard.unlockProtectiveStop()
            except RuntimeError as error:
                raise ArmFault(f"the arm: {error}") from None
        self._disconnect()
        self._connect()

    def close(self) -> None:
        """The arm holds, the fingers stay."""
        try:
            if self._steering:
                self.rest()
            if self._control is not None:
                self._control.stopScript()
        except (ArmFault, RuntimeError) as error:
            logging.getLogger("robot_bridge.driver").warning("at the end: %s", error)
        if self._gripper is not None:
            self._gripper.close()
        self._disconnect()

    def _do(self, command: Any) -> None:
        assert self._control is not None, "an arm that is only looked at is not moved"
        try:
            done = command(self._control)
        except RuntimeError as error:
            raise ArmFault(f"the arm: {error}") from None
        if not done:
            raise ArmFault("the arm: it does not take commands; is it in remote control?")

    def _connect(self) -> None:
        control, receive = self._modules
        try:
            self._receive = receive(self._host)
            if self._controls:
                self._control = control(self._host)
                self._control.setWatchdog(WATCHDOG)
        except RuntimeError as error:
            self._disconnect()
            raise ArmFault(f"no arm at {self._host}: {error}") from None
        self._clock, self._seen = -1.0, time.monotonic()

    def _disconnect(self) -> None:
        for interface in (self._control, self._receive):
            if interface is not None:
                with contextlib.suppress(RuntimeError):
                    interface.disconnect()
        self._control = self._receive = None

    @contextlib.contextmanager
    def _dashboard(self) -> Any:
        dashboard = self._dashboard_class(self._host)
        try:
            dashboard.connect()
        except RuntimeError as error:
            raise ArmFault(f"no dashboard at {self._host}: {error}") from None
        try:
            yield dashboard
        finally:
            dashboard.disconnect()


def main(argv: list[str]) -> None:
    """The command."""
    parser = CommandParser("robot_bridge.drivers.ur", __doc__)
    parser.add_argument("host", help="address of the arm's controller, such as 192.168.1.20")
    parser.add_argument("--gripper-force", type=int, default=100, help="0 to 255, of a Robotiq gripper (100)")
    parser.add_argument("--no-gripper", action="store_true", help="there is no Robotiq gripper")
    add_options(parser)
    arguments = parser.parse_args(argv)

    def connect() -> UrArm:
        return UrArm(
            arguments.host,
            control=not arguments.dry_run,
            gripper=not arguments.no_gripper,
            gripper_force=arguments.gripper_force,
        )

    serve(connect, "ur", "is it on, its brakes released, and in remote control?", arguments)


if __name__ == "__main__":
    run(main)
