"""The driver of LeRobot's robots (SO-101 and whatever else ``lerobot.robots`` has), by their ``Robot`` interface.

python -m robot_bridge.drivers.lerobot so101_follower --set port=/dev/ttyACM0 --set id=my_arm
Then, elsewhere: python -m robot_bridge.run --robot so101

While it runs, type: recover (the cause of a fault is gone) | quit
"""

import importlib
import logging
import pkgutil
import time
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from common.cli import CommandParser, run
from common.errors import UserError
from robot_bridge.drivers.driver import ArmFault, Measured, add_options, serve
from robot_bridge.drivers.speedometer import Speedometer

VELOCITY, BRAKING = 2.0, 8.0
"""Rad/s and rad/s^2 of every joint; an STS3215 turns 4.7 rad/s without load."""
GRIPPER = "gripper"
SILENCE = 0.1
"""Seconds for which a bus may fail to answer: single packets get lost."""
AWAY, OVERLOADED = 0.35, 0.5
"""Rad that a servo may be away from its goal, and for how many seconds: none says that it is overloaded."""


class Robot(Protocol):
    """What of ``lerobot.robots.Robot`` is used; positions are in degrees, a gripper's from 0 to 100."""

    action_features: dict[str, Any]
    is_calibrated: bool

    def connect(self, calibrate: bool = True) -> None: ...

    def get_observation(self) -> dict[str, Any]: ...

    def send_action(self, action: dict[str, Any]) -> dict[str, Any]: ...

    def disconnect(self) -> None: ...


class LeRobotArm:
    """A connected and calibrated robot; ``robot_bridge.drivers.driver.Arm``, in rad, the gripper in percent.

    ``make`` builds the robot, again after it was lost. What it calls ``NAME.pos`` are the joints, in its order, and
    ``gripper.pos`` is the gripper, if there is one.

    Raises:
        ArmFault: it cannot be reached.
        UserError: it has never been calibrated.
    """

    def __init__(self, make: Any):
        self._make = make
        self._speedometer = Speedometer()
        self._goal: np.ndarray | None = None
        self._obeyed = time.monotonic()
        self._connect()
        names = [key.removesuffix(".pos") for key in self._robot.action_features if key.endswith(".pos")]
        self.joints = tuple(name for name in names if name != GRIPPER)
        self._has_gripper = GRIPPER in names
        self.velocity, self.braking = np.full(len(self.joints), VELOCITY), BRAKING
        self._newest = self._read()
        self._told = float(self._newest.fingers[0]) if self._has_gripper else 0.0
        self._answered = time.monotonic()

    def measure(self) -> Measured:
        """From the bus; one that fails to answer for a moment repeats what it said."""
        try:
            self._newest = self._read()
            self._answered = time.monotonic()
        except ArmFault:
            if time.monotonic() - self._answered > SILENCE:
                raise
        self._check_torque()
        return self._newest

    def steer(self, q: np.ndarray, dq: np.ndarray) -> None:
        """A goal for the servos' own position control, which knows no velocity."""
        goals = dict(zip(self.joints, np.degrees(q).tolist(), strict=True))
        if self._has_gripper:
            goals[GRIPPER] = self._told
        self._goal = q
        try:
            self._robot.send_action({f"{name}.pos": value for name, value in goals.items()})
        except Exception as error:  # those of the bus have no common type
            if time.monotonic() - self._answered > SILENCE:
                raise ArmFault(f"the arm: {error}") from None

    def rest(self) -> None:
        """The servos hold where the arm is."""
        self.steer(self._newest.q, np.zeros(len(self.joints)))

    def fingers(self, opening: float) -> None:
        """The gripper's goal, 0 to 100; it goes out with the joints'."""
        self._told = float(np.clip(opening, 0.0, 100.0))

    def recover(self) -> None:
        """Connects anew, which gives servos that let go their torque back: their goals are then where the arm is."""
        try:
            self._newest = self._read()
            self.rest()
            self._robot.disconnect()
        except Exception as error:
            logging.getLogger("robot_bridge.driver").info("the lost arm: %s", error)
        self._speedometer.forget()
        self._goal = None
        self._connect()
        self._answered = time.monotonic()

    def close(self) -> None:
        """The servos hold the last goal; ``--set disable_torque_on_disconnect=true`` lets the arm go limp instead."""
        try:
            self._robot.disconnect()
        except Exception as error:
            logging.getLogger("robot_bridge.driver").warning("at the end: %s", error)

    def _connect(self) -> None:
        try:
            self._robot: Robot = self._make()
            self._robot.connect(calibrate=False)
        except UserError:
            raise
        except Exception as error:
            raise ArmFault(f"no arm: {error}") from None
        if not self._robot.is_calibrated:
            self._robot.disconnect()
            raise UserError("the arm is not calibrated; lerobot-calibrate does it, with the same id")

    def _check_torque(self) -> None:
        """``ArmFault`` when a joint does not go to its goal; then the servos are told to stay where they are."""
        now = time.monotonic()
        away = np.zeros(1) if self._goal is None else np.abs(self._goal - self._newest.q)
        if away.max() < AWAY:
            self._obeyed = now
        elif now - self._obeyed > OVERLOADED:
            joint = int(np.argmax(away))
            self.rest()
            raise ArmFault(
                f"the arm: {self.joints[joint]} is {away[joint]:.2f} rad from its goal; "
                "it is overloaded or blocked, or its torque is off"
            )

    def _read(self) -> Measured:
        try:
            seen = self._robot.get_observation()
        except Exception as error:
            raise ArmFault(f"the arm: {error}") from None
        q = np.radians([float(seen[f"{name}.pos"]) for name in self.joints])
        dq = self._speedometer.velocity(q, time.monotonic())
        fingers = np.array([float(seen[f"{GRIPPER}.pos"])]) if self._has_gripper else np.zeros(0)
        return Measured(q, dq, fingers)


@dataclass(frozen=True)
class Kinds:
    """What LeRobot has several kinds of: their module, the class of their configurations, and what makes one."""

    module: str
    configuration: str
    make: str
    noun: str


ROBOTS = Kinds("lerobot.robots", "RobotConfig", "make_robot_from_config", "robot")
TELEOPERATORS = Kinds("lerobot.teleoperators", "TeleoperatorConfig", "make_teleoperator_from_config", "teleoperator")


def maker(kind: str, settings: list[str], kinds: Kinds = ROBOTS) -> Any:
    """What builds the robot that LeRobot calls ``kind``, with ``NAME=VALUE`` settings of its configuration.

    Raises:
        UserError: lerobot is missing, or knows no such robot or setting.
    """
    try:
        package = importlib.import_module(kinds.module)
        utils = importlib.import_module(f"{kinds.module}.utils")
    except ImportError as error:
        raise UserError(f"the package lerobot is missing: pip install 'amplify-deploy[lerobot]' ({error})") from None
    for module in pkgutil.iter_modules(package.__path__):  # which register their configurations
        try:
            importlib.import_module(f"{kinds.module}.{module.name}")
        except ImportError as error:
            logging.getLogger("robot_bridge.driver").debug("%s.%s: %s", kinds.module, module.name, error)
    choices = getattr(package, kinds.configuration).get_known_choices()
    if kind not in choices:
        raise UserError(
            f"lerobot has no {kinds.noun} {kind!r}, or lacks a package for it; there are {', '.join(choices)}"
        )
    given: dict[str, Any] = {"disable_torque_on_disconnect": False, "use_degrees": True}
    known = set(getattr(choices[kind], "__dataclass_fields__", {}))
    given = {name: value for name, value in given.items() if name in known}
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals or name not in known:
            raise UserError(f"--set {setting}: {kind} has {', '.join(sorted(known))}")
        given[name] = {"true": True, "false": False}.get(value, value)
    return lambda: getattr(utils, kinds.make)(choices[kind](**given))


def main(argv: list[str]) -> None:
    """The command."""
    parser = CommandParser("robot_bridge.drivers.lerobot", __doc__)
    parser.add_argument("kind", help="what LeRobot calls the robot, such as so101_follower")
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="of its configuration: port, id, ..."
    )
    add_options(parser)
    arguments = parser.parse_args(argv)

    def connect() -> LeRobotArm:
        arm = LeRobotArm(maker(arguments.kind, arguments.set))
        print(f"lerobot: joints {', '.join(arm.joints)}", flush=True)
        return arm

    serve(connect, "lerobot", "is it on, and its port right?", arguments)


if __name__ == "__main__":
    run(main)
