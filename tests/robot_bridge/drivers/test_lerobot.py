"""The LeRobot driver, with an arm of LeRobot's ``Robot`` interface behind it that loses packets and falls silent."""

import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest

from common.errors import UserError
from robot_bridge.config import read_robot
from robot_bridge.drivers.conformance import Probe, check_driver
from robot_bridge.drivers.driver import Driver
from robot_bridge.drivers.lerobot import LeRobotArm, maker
from tests.robot_bridge.drivers.programs import stands_until_reset_and_then_goes, wait_for_fault
from tests.robot_bridge.policies import with_patience

JOINTS = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll")
STEP = 360 / 4096
"""Degrees that a servo can tell apart."""


class Follower:
    """An SO-101 as ``lerobot.robots.so_follower`` has it: degrees, servos that go to their goals by themselves."""

    action_features = {f"{name}.pos": float for name in (*JOINTS, "gripper")}  # noqa: RUF012 (LeRobot's)
    goals = dict.fromkeys((*JOINTS, "gripper"), 0.0)
    places = dict.fromkeys((*JOINTS, "gripper"), 0.0)
    answers, is_calibrated, lost = True, True, 0
    sent: list[dict] = []  # noqa: RUF012

    def __init__(self) -> None:
        self._connected, self._at = False, time.monotonic()

    def connect(self, calibrate: bool = True) -> None:
        assert not calibrate, "nobody is there to calibrate"
        if not self.answers:
            raise ConnectionError("Could not connect on port '/dev/ttyACM0'")
        self._connected = True

    def get_observation(self) -> dict:
        self._check()
        if Follower.lost:
            Follower.lost -= 1
            raise ConnectionError("Failed to sync read 'Present_Position': [TxRxResult] There is no status packet!")
        now = time.monotonic()
        way, self._at = 200.0 * (now - self._at), now
        for name, goal in self.goals.items():
            self.places[name] += float(np.clip(goal - self.places[name], -way, way))
        return {f"{name}.pos": round(place / STEP) * STEP for name, place in self.places.items()}

    def send_action(self, action: dict) -> dict:
        self._check()
        self.goals.update({name.removesuffix(".pos"): value for name, value in action.items()})
        self.sent.append(action)
        return action

    def disconnect(self) -> None:
        self._connected = False

    def _check(self) -> None:
        if not self._connected or not self.answers:
            raise ConnectionError("the bus does not answer")


@pytest.fixture
def cell(tmp_path) -> Iterator[tuple[Driver, Probe, type]]:
    kind = type(
        "OneFollower", (Follower,), {"goals": dict(Follower.goals), "places": dict(Follower.places), "sent": []}
    )
    Follower.lost = 0
    addresses = f"ipc://{tmp_path}/state", f"ipc://{tmp_path}/target"
    driver = Driver(LeRobotArm(kind), *addresses, 0.05)
    thread = threading.Thread(target=driver.run, daemon=True)
    thread.start()
    probe = Probe(*addresses, 5, 4, 0.1, 1.0, read_robot("so101").grippers)
    yield driver, probe, kind
    probe.close()
    driver.stop()
    thread.join(5)


def test_it_keeps_every_rule_of_the_protocol(cell):
    _, probe, _ = cell

    def attempt() -> None:
        broken = [finding for finding in check_driver(probe) if finding.trouble]
        assert not broken, broken

    with_patience(attempt)


def test_joints_are_in_radians_and_the_gripper_in_percent(cell):
    _, probe, kind = cell
    probe.openings = np.array([60.0])
    probe.ramp(probe.away)
    probe.reaches(probe.away, "to a target")
    assert kind.goals["wrist_roll"] == pytest.approx(np.degrees(probe.away[4]), abs=0.1)
    probe.watch(0.5)
    assert probe.newest.fingers[0] == pytest.approx(60, abs=1)


def test_a_lost_packet_is_no_fault_and_a_silent_bus_is_one_until_it_is_connected_anew(cell):
    driver, probe, kind = cell
    Follower.lost = 3
    probe.watch(0.3)
    assert probe.newest.fault == ""
    kind.answers = False
    assert "the arm" in wait_for_fault(probe, True)
    driver.recover()
    probe.watch(0.3)
    assert probe.newest.fault
    kind.answers = True
    driver.recover()
    wait_for_fault(probe, False)
    stands_until_reset_and_then_goes(probe, 4)


def test_nothing_is_sent_before_the_first_target(cell):
    _, probe, kind = cell
    probe.watch(0.3)
    assert kind.sent == []


def test_an_arm_that_was_never_calibrated_is_not_driven():
    with pytest.raises(UserError, match="lerobot-calibrate"):
        LeRobotArm(type("New", (Follower,), {"is_calibrated": False}))


def test_an_arm_without_a_gripper_has_no_fingers():
    features = {f"{name}.pos": float for name in JOINTS}
    arm = LeRobotArm(type("Bare", (Follower,), {"action_features": features, "sent": []}))
    assert arm.measure().fingers.shape == (0,)
    arm.steer(np.zeros(5), np.zeros(5))


def test_without_lerobot_its_package_is_named():
    try:
        import lerobot  # noqa: F401
    except ImportError:
        with pytest.raises(UserError, match=r"amplify-deploy\[lerobot\]"):
            maker("so101_follower", [])
