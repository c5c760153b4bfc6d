"""The driver of a Franka arm (Panda, FR3) and its hand, by franky-control.

The arm follows by joint impedance at 1 kHz; while it stands the arm's own controller holds it. Then, elsewhere:
python -m robot_bridge.run --robot robot.yaml

While it runs, type: recover (the cause of a fault is gone) | quit
"""

import logging
import threading
import time
from typing import Any

import numpy as np

from common.cli import CommandParser, positive_number, run
from common.errors import UserError
from robot_bridge.drivers.driver import ArmFault, Measured, add_options, serve

VELOCITY = np.array([2.1, 2.1, 2.1, 2.1, 2.5, 2.5, 2.5])
"""Rad/s, a little below what a Panda and an FR3 both allow."""
BRAKING = 5.0
"""Rad/s^2: below the least acceleration limit of both (Panda's second joint, 7.5)."""
STIFFNESS = np.array([600.0, 600.0, 600.0, 600.0, 250.0, 200.0, 100.0])
DAMPING = np.array([50.0, 50.0, 50.0, 20.0, 20.0, 20.0, 10.0])
"""Nm/rad and Nms/rad, those of franka_ros' joint impedance example but for the last two joints, which lag less so."""
CLOSED = 0.004
"""Width (m) below which a wish for the fingers is to grasp whatever is between them."""
SILENCE = 0.1
"""Seconds after which an arm whose clock stands still is out of reach."""
SAME_WIDTH = 0.004
"""Wishes that differ by less (m) are the same."""


class FrankaHand:
    """The hand's fingers, in a thread of its own: its commands take as long as its movements."""

    def __init__(self, franky: Any, host: str, speed: float, force: float):
        self._gripper = franky.Gripper(host)
        self._speed, self._force = speed, force
        self._wish: float | None = None
        self._told = self.width = float(self._gripper.width)
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._work, name="hand", daemon=True)
        self._thread.start()

    def want(self, width: float) -> None:
        """The width (m) between the fingers from now on; next to none grasps with ``force`` (N)."""
        self._wish = width

    def close(self) -> None:
        """Leaves the fingers as they are."""
        self._ends.set()
        self._thread.join(2)

    def _work(self) -> None:
        under_way: Any = None
        while not self._ends.wait(0.02):
            try:
                self.width = float(self._gripper.width)
                wish = self._wish
                if wish is None or abs(wish - self._told) < SAME_WIDTH:
                    continue
                if under_way is not None and not under_way.wait(0.0):
                    continue  # the hand takes one command at a time
                self._told = wish
                if wish < CLOSED:  # any width will do: what is held is not known here
                    under_way = self._gripper.grasp_async(0.0, self._speed, self._force, 1.0, 1.0)
                else:
                    under_way = self._gripper.move_async(wish, self._speed)
            except Exception as error:  # the arm can go on without; its width just stays as it was
                logging.getLogger("robot_bridge.driver").warning("the hand: %s", error)


class FrankaArm:
    """An arm at ``host``, ready to move; ``robot_bridge.drivers.driver.Arm``.

    ``stiffness`` is a factor of ``STIFFNESS``; ``torque`` (Nm) and ``force`` (N) are what touching something may take
    before the arm's own reflex stops it; ``hand`` False: there is none. ``realtime`` False does without a real-time
    kernel.

    Raises:
        UserError: franky-control is missing.
        ArmFault: nobody answers at ``host``.
    """

    velocity, braking = VELOCITY, BRAKING

    def __init__(
        self,
        host: str,
        *,
        stiffness: float = 1.0,
        torque: float = 20.0,
        force: float = 30.0,
        hand: bool = True,
        hand_speed: float = 0.1,
        hand_force: float = 40.0,
        realtime: bool = True,
    ):
        try:
            import franky
        except ImportError:
            raise UserError("the package franky-control is missing: pip install 'amplify-deploy[franka]'") from None
        self._franky, self._host = franky, host
        self._gains = {"stiffness": stiffness * STIFFNESS, "damping": stiffness**0.5 * DAMPING}
        self._thresholds = torque, force
        self._config = franky.RealtimeConfig.Enforce if realtime else franky.RealtimeConfig.Ignore
        self._tracker: Any = None
        self._clock, self._seen = -1.0, time.monotonic()
        self._robot = self._connect()
        try:
            self._hand = FrankaHand(franky, host, hand_speed, hand_force) if hand else None
        except Exception as error:
            raise ArmFault(f"no hand at {host}: {error}; --no-hand does without") from None

    def measure(self) -> Measured:
        """From the arm's newest state."""
        try:
            state = self._robot.state
            if self._tracker is not None and not self._tracker.is_running:
                self._tracker = None
                self._robot.poll_motion()  # raises what ended it
                raise ArmFault("the arm: its control has ended")
        except self._franky.Exception as error:
            raise ArmFault(f"the arm: {error}") from None
        if self._robot.has_errors or state.robot_mode in self._stopped_modes():
            raise ArmFault(f"the arm: {state.robot_mode.name}, {state.current_errors}")
        clock, now = state.time.to_sec(), time.monotonic()
        if clock != self._clock:
            self._clock, self._seen = clock, now
        elif now - self._seen > SILENCE:
            raise ArmFault(f"the arm: no new state for {SILENCE:g} s")
        half = self._hand.width / 2 if self._hand is not None else 0.0
        return Measured(np.array(state.q), np.array(state.dq), np.array([half, -half]))

    def steer(self, q: np.ndarray, dq: np.ndarray) -> None:
        """Joint impedance around ``q``, which moves at ``dq``."""
        try:
            if self._tracker is None:
                self._tracker = self._franky.JointImpedanceTracker(self._robot, **self._gains)
            self._tracker.set_target(q, dq)
        except self._franky.Exception as error:
            self._tracker = None
            raise ArmFault(f"the arm: {error}") from None

    def rest(self) -> None:
        """Ends the impedance control; the arm's own controller holds."""
        if self._tracker is None:
            return
        self._tracker = None
        try:  # not the tracker's stop(), which waits for half a second; another tracker may take over meanwhile
            self._robot.move(self._franky.TorqueStopMotion(), asynchronous=True)
        except self._franky.Exception as error:
            raise ArmFault(f"the arm: {error}") from None

    def fingers(self, opening: float) -> None:
        """Opens or closes the hand."""
        if self._hand is not None:
            self._hand.want(2 * opening)

    def recover(self) -> None:
        """Clears the arm's errors; connects anew where the connection is gone."""
        self._tracker = None
        try:
            self._robot.recover_from_errors()
        except self._franky.Exception:
            self._robot = self._connect()
            try:
                self._robot.recover_from_errors()
            except self._franky.Exception as error:
                raise ArmFault(f"the arm: {error}") from None

    def close(self) -> None:
        """The arm holds, the fingers stay."""
        try:
            self.rest()
            self._robot.join_motion(2.0)
        except (ArmFault, self._franky.Exception) as error:
            logging.getLogger("robot_bridge.driver").warning("at the end: %s", error)
        if self._hand is not None:
            self._hand.close()

    def _connect(self) -> Any:
        try:
            robot = self._franky.Robot(self._host, realtime_config=self._config)
            robot.set_collision_behavior(*self._thresholds)
        except self._franky.Exception as error:
            raise ArmFault(f"no arm at {self._host}: {error}") from None
        return robot

    def _stopped_modes(self) -> tuple[Any, ...]:
        modes = self._franky.RobotMode
        return modes.Reflex, modes.UserStopped, modes.Guiding, modes.AutomaticErrorRecovery


def main(argv: list[str]) -> None:
    """The command."""
    parser = CommandParser("robot_bridge.drivers.franka", __doc__)
    parser.add_argument("host", help="address of the arm's control unit, such as 172.16.0.2")
    parser.add_argument("--stiffness", type=positive_number, default=1.0, help="times franka_ros' example (default 1)")
    parser.add_argument("--torque", type=positive_number, default=20.0, help="Nm at a joint that make the arm stop")
    parser.add_argument("--force", type=positive_number, default=30.0, help="N at the hand that make the arm stop")
    parser.add_argument("--grasp-force", type=positive_number, default=40.0, help="N between the fingers")
    parser.add_argument("--no-hand", action="store_true", help="there is no Franka hand")
    parser.add_argument(
        "--no-realtime", action="store_true", help="without a real-time kernel: for simulators, and at your own risk"
    )
    add_options(parser)
    arguments = parser.parse_args(argv)

    def connect() -> FrankaArm:
        return FrankaArm(
            arguments.host,
            stiffness=arguments.stiffness,
            torque=arguments.torque,
            force=arguments.force,
            hand=not arguments.no_hand,
            hand_force=arguments.grasp_force,
            realtime=not arguments.no_realtime,
        )

    serve(connect, "franka", "is it on, unlocked, and its FCI activated?", arguments)


if __name__ == "__main__":
    run(main)
