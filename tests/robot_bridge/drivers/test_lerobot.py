"""The LeRobot driver, with an arm of LeRobot's ``Robot`` interface behind it.

Its bus loses packets and falls silent, its servos give up when they are overloaded.
"""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from common.errors import UserError
from robot_bridge.config import CONFIGS, read_robot
from robot_bridge.drivers.conformance import Probe, check_driver
from robot_bridge.drivers.driver import Driver
from robot_bridge.drivers.lerobot import LeRobotArm, maker
from tests.robot_bridge.drivers.programs import stands_until_reset_and_then_goes, wait_for_fault
from tests.robot_bridge.policies import with_patience
from tests.robot_bridge.processes import Process

JOINTS = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll")
STEP = 360 / 4096
"""Degrees that a servo can tell apart."""
SAGS = -40.0
"""Degrees to which a joint falls without torque."""


class Follower:
    """An SO-101 as ``lerobot.robots.so_follower`` has it: degrees, servos that go to their goals by themselves."""

    action_features = {f"{name}.pos": float for name in (*JOINTS, "gripper")}  # noqa: RUF012 (LeRobot's)
    goals = dict.fromkeys((*JOINTS, "gripper"), 0.0)
    places = dict.fromkeys((*JOINTS, "gripper"), 0.0)
    answers, is_calibrated, lost = True, True, 0
    limp: set[str] = set()  # noqa: RUF012 (servos that are overloaded, or whose torque is off)
    sent: list[dict] = []  # noqa: RUF012

    def __init__(self) -> None:
        self._connected, self._at = False, time.monotonic()

    def connect(self, calibrate: bool = True) -> None:
        assert not calibrate, "nobody is there to calibrate"
        if not self.answers:
            raise ConnectionError("Could not connect on port '/dev/ttyACM0'")
        self._connected = True
        self.limp.clear()  # as lerobot's configure() does, which switches torque on

    def get_observation(self) -> dict:
        self._check()
        if self.lost:
            type(self).lost -= 1
            raise ConnectionError("Failed to sync read 'Present_Position': [TxRxResult] There is no status packet!")
        now = time.monotonic()
        way, self._at = 200.0 * (now - self._at), now
        for name, goal in self.goals.items():
            goal = SAGS if name in self.limp else goal
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


class LeRobotCell:
    """The arm (``arm`` is a kind of ``Follower`` of its own, as a driver may connect anew) and its driver."""

    def __init__(self, folder: Path):
        own = {"goals": dict(Follower.goals), "places": dict(Follower.places), "limp": set(), "sent": []}
        self.arm: type[Follower] = type("OneFollower", (Follower,), own)
        self.robot = folder / "robot.yaml"
        text = (CONFIGS / "so101.yaml").read_text().replace("model: ", f"model: {CONFIGS}/")
        self._addresses = f"ipc://{folder}/state", f"ipc://{folder}/target"
        for port, address in zip((5601, 5602), self._addresses, strict=True):
            text = text.replace(f"tcp://127.0.0.1:{port}", address)
        self.robot.write_text(text)
        self.start_driver()
        self.probe = Probe.to(read_robot(self.robot), joint=None, reach=0.1)

    def start_driver(self) -> None:
        self.driver = Driver(LeRobotArm(self.arm), *self._addresses, 0.05)
        self._thread = threading.Thread(target=self.driver.run, daemon=True)
        self._thread.start()

    def stop_driver(self) -> None:
        self.driver.stop()
        self._thread.join(5)

    def close(self) -> None:
        self.probe.close()
        self.stop_driver()


@pytest.fixture
def cell(tmp_path) -> Iterator[LeRobotCell]:
    cell = LeRobotCell(tmp_path)
    yield cell
    cell.close()


def test_it_keeps_every_rule_of_the_protocol(cell: LeRobotCell):
    def attempt() -> None:
        broken = [finding for finding in check_driver(cell.probe) if finding.trouble]
        assert not broken, broken

    with_patience(attempt)


@pytest.mark.slow
def test_the_check_of_drivers_finds_nothing_to_mend(cell: LeRobotCell):
    check = Process("robot_bridge.check", str(cell.robot))
    assert check.wait(120) == 0, check.out.text() + check.err.text()
    assert "17 of 17 passed" in check.out.text()


def test_joints_are_in_radians_and_the_gripper_in_percent(cell: LeRobotCell):
    probe = cell.probe
    probe.openings = np.array([60.0])
    probe.ramp(probe.away)
    probe.reaches(probe.away, "to a target")
    assert cell.arm.goals["wrist_roll"] == pytest.approx(np.degrees(probe.away[4]), abs=0.1)
    probe.watch(0.5)
    assert probe.newest.fingers[0] == pytest.approx(60, abs=1)


def test_a_lost_packet_is_no_fault_and_a_silent_bus_is_one_until_it_is_connected_anew(cell: LeRobotCell):
    probe = cell.probe
    cell.arm.lost = 3
    probe.watch(0.3)
    assert probe.newest.fault == ""
    cell.arm.answers = False
    assert "the arm" in wait_for_fault(probe, True)
    cell.driver.recover()
    probe.watch(0.3)
    assert probe.newest.fault
    cell.arm.answers = True
    cell.driver.recover()
    wait_for_fault(probe, False)
    stands_until_reset_and_then_goes(probe, 4)


def test_an_overloaded_servo_is_a_fault_and_does_not_jump_when_it_has_its_torque_back(cell: LeRobotCell):
    probe = cell.probe
    probe.ramp(probe.away)
    cell.arm.limp.add("shoulder_lift")
    while not probe.newest.fault:
        assert probe.sequence < 100
        probe.send(probe.target(probe.away))
    assert "shoulder_lift is 0.7" in probe.newest.fault
    assert "overloaded" in probe.newest.fault
    assert cell.arm.goals["shoulder_lift"] == pytest.approx(SAGS, abs=STEP)
    cell.driver.recover()
    wait_for_fault(probe, False)
    assert not cell.arm.limp
    assert probe.moved(probe.watch(0.3)) < 0.01
    assert np.degrees(probe.newest.q[1]) == pytest.approx(SAGS, abs=0.1)
    stands_until_reset_and_then_goes(probe, 4)


def test_a_driver_that_is_started_anew_is_another_and_does_not_move_by_old_targets(cell: LeRobotCell):
    probe = cell.probe
    probe.ramp(probe.away)
    old, boot = probe.target(probe.home), probe.newest.boot
    cell.stop_driver()
    cell.start_driver()
    probe.watch(1.0)
    assert probe.newest.boot != boot
    cell.arm.sent.clear()
    probe.stays([old] * 4, "a target of before the restart")
    assert cell.arm.sent == []


def test_nothing_is_sent_before_the_first_target(cell: LeRobotCell):
    cell.probe.watch(0.3)
    assert cell.arm.sent == []


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
