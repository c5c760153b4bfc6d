"""A person moves the arm with a small arm of the same joints, its leader: LeRobot's ``Teleoperator`` interface.

Its joints become joint targets such as a policy's, and go through the same loop. The arm does not jump to where the
leader happens to be: it stands until a person has brought the leader to where the arm is, and then goes over to it.
"""

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from common.conventions import HORIZON
from common.errors import UserError, require
from robot_bridge.actions import layout, openings
from robot_bridge.asker import Observation
from robot_bridge.config import RobotConfig
from robot_bridge.drivers.lerobot import GRIPPER

TOGETHER = np.radians(10.0)
"""Rad that no joint of the leader may be from the arm's when the arm begins to follow."""
GOES_OVER = 1.0
"""Seconds in which what is left of that goes to nothing."""
LEAP = 1.0
"""Rad between two readings that no hand can make: an encoder that has come around, or a bad packet."""
PAUSE = 0.5
"""Seconds without a question (a stop, a new episode) after which the leader has to be brought to the arm again."""
REMINDER = 2.0
"""Seconds between two words on how far there is to go."""


class Teleoperator(Protocol):
    """What of ``lerobot.teleoperators.Teleoperator`` is used; positions are in degrees, a gripper's from 0 to 100."""

    action_features: dict[str, Any]
    is_calibrated: bool

    def connect(self, calibrate: bool = True) -> None: ...

    def get_action(self) -> dict[str, Any]: ...

    def disconnect(self) -> None: ...


class LeaderTeleoperation:
    """A connected and calibrated leader for the one arm of ``config``, whose mode is ``joint_target``.

    What it calls ``NAME.pos`` are the joints of the robot, in the robot's order, and ``gripper.pos`` is the gripper.
    ``tell`` says to the person what to do.

    Raises:
        UserError: it cannot be reached, has never been calibrated, or is no leader of this robot.
    """

    keys = "the leader moves the arm, once it has been brought to where the arm is"

    def __init__(self, make: Callable[[], Teleoperator], config: RobotConfig, tell: Callable[[str], None]):
        _check(config)
        self._config, self._tell = config, tell
        try:
            self._leader = make()
            self._leader.connect(calibrate=False)
        except Exception as error:  # those of its bus have no common type
            raise UserError(f"no leader: {error}; is it on, and its port right (--set port=...)?") from None
        names = [key.removesuffix(".pos") for key in self._leader.action_features if key.endswith(".pos")]
        self._names, self._has_gripper = [name for name in names if name != GRIPPER], GRIPPER in names
        try:
            require(
                self._leader.is_calibrated, "the leader is not calibrated; lerobot-calibrate does it, with the same id"
            )
            require(
                len(self._names) == config.joint_map.real_dof,
                f"the leader has the joints {', '.join(self._names)}; {config.name} has {config.joint_map.real_dof}",
            )
        except UserError:
            self.close()
            raise
        self._asked = self._told = -np.inf
        self.begin()

    def begin(self) -> None:
        """A new episode, or the arm was stopped: it stands until the leader is brought to it."""
        self._held: np.ndarray | None = None
        self._together: float | None = None
        self._before: np.ndarray | None = None

    def ask(self, observation: Observation) -> np.ndarray:
        """A policy's place taken by the leader: chunks (horizon, d) that go on with where it is now.

        Raises whatever its bus does when it does not answer; the loop then brakes and holds.
        """
        now, (leader, share) = observation.at, self._read(observation.q)
        leapt = self._before is not None and float(np.abs(leader - self._before).max()) > LEAP
        if now - self._asked > PAUSE or leapt:
            self.begin()
        self._asked, self._before = now, leader
        if self._held is None:
            self._held = observation.q.copy()
        if self._together is None and np.abs(self._held - leader).max() <= TOGETHER:
            self._together, self._apart = now, self._held - leader
            self._tell("leader: the arm follows")
        if self._together is None:
            self._remind(now, self._held - leader)
            return self._chunk(self._held, observation, None)
        left = max(0.0, 1 - (now - self._together) / GOES_OVER)
        return self._chunk(leader + left * self._apart, observation, share)

    def close(self) -> None:
        """Lets go of it."""
        self._leader.disconnect()

    def _read(self, q: np.ndarray) -> tuple[np.ndarray, float | None]:
        """Its joints (n,) rad, simulator order, those that the robot lacks as in ``q``; its gripper, 0 closed to 1."""
        seen, joint_map = self._leader.get_action(), self._config.joint_map
        radians = np.radians([float(seen[f"{name}.pos"]) for name in self._names])
        share = float(np.clip(seen[f"{GRIPPER}.pos"] / 100, 0, 1)) if self._has_gripper else None
        return joint_map.to_sim(radians * joint_map.per_radian, q), share

    def _chunk(self, joints: np.ndarray, observation: Observation, share: float | None) -> np.ndarray:
        """Joint targets (n,) rad, and the gripper as open as ``share`` says; None leaves it as it is."""
        (arm,), places = layout(self._config)
        action = np.zeros(self._config.embodiment.action_width)
        action[arm] = joints
        told = openings(self._config.grippers, observation.fingers)
        for place, gripper, opening in zip(places, self._config.grippers, told, strict=True):
            action[place] = (
                gripper.to_stay(opening)
                if share is None
                else gripper.to_reach(gripper.closed + share * (gripper.open - gripper.closed))
            )
        return np.tile(action, (HORIZON, 1))

    def _remind(self, now: float, apart: np.ndarray) -> None:
        if now - self._told < REMINDER:
            return
        self._told = now
        joint = int(np.abs(apart).argmax())
        self._tell(
            f"leader: bring it to the arm; {self._config.joints[joint]} by {np.degrees(apart[joint]):+.0f} degrees, "
            f"the others less, to within {np.degrees(TOGETHER):.0f}"
        )


def _check(config: RobotConfig) -> None:
    require(config.mode == "joint_target", f"a leader gives joints; {config.name} must have mode: joint_target")
    require(len(config.arms) == 1, f"a leader moves one arm; {config.name} has {len(config.arms)}")
