"""The driver of ros2_control, with a rosbridge in a process of its own and a robot's controllers behind it."""

import json
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("websockets")

from common.errors import UserError
from robot_bridge.config import CONFIGS, read_robot
from robot_bridge.drivers.conformance import CHECKS, PERIOD, Probe
from robot_bridge.drivers.driver import ArmFault, Driver
from robot_bridge.drivers.ros2 import Ros2Arm, joints_of, limits_of, main
from robot_bridge.drivers.ros2_control import JointStates
from tests.robot_bridge.drivers.programs import Program, stands_until_reset_and_then_goes, wait_for_fault
from tests.robot_bridge.policies import until, with_patience

JOINTS = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll")
LIMITS = np.full(5, 2.0), 6.0


class Robot:
    """The simulated robot's process."""

    def __init__(self, *options: str, port: int = 0):
        self.program = Program(sys.executable, "tests/robot_bridge/drivers/ros2_simulator.py", str(port), *options)
        self.program.out.wait_for("^ready", 30)
        self.url = self.program.out.lines[-1][1].split()[1]
        self.port = int(self.url.rpartition(":")[2])
        self.type = self.program.type
        self.close = self.program.kill

    def says(self) -> dict:
        """Its joints' places and goals, and how many commands its controllers have taken."""
        before = len(self.program.out.lines)
        self.type("say")
        until(lambda: len(self.program.out.lines) > before)
        return json.loads(self.program.out.lines[-1][1])


@pytest.fixture(scope="module")
def shared() -> Iterator[Robot]:
    """One whose gripper is a joint of the arm's controller, for tests that leave it as it was."""
    robot = Robot()
    yield robot
    robot.close()


class Cell:
    """A driver in a thread of this process, before a robot."""

    def __init__(self, folder: Path, robot: Robot, **options):
        options = {"controller": "forward_position_controller", "gripper": "gripper", **options}
        addresses = f"ipc://{folder}/state", f"ipc://{folder}/target"
        self.driver = Driver(Ros2Arm(robot.url, JOINTS, *LIMITS, **options), *addresses, PERIOD)
        self._thread = threading.Thread(target=self.driver.run, daemon=True)
        self._thread.start()
        self.probe = Probe(*addresses, 5, 4, 0.1, 1.0, robot_with_a_gripper(folder).grippers)

    def close(self) -> None:
        self.probe.close()
        self.driver.stop()
        self._thread.join(5)


def robot_with_a_gripper(folder: Path):
    """An SO-101 in ROS' units."""
    text = (CONFIGS / "so101.yaml").read_text().replace("model: ", f"model: {CONFIGS}/")
    text = text.replace("open: 100, closed: 0,", "open: 1.7, closed: -0.1,").replace("unit: percent", "unit: rad")
    for name, port in (("state", 5601), ("target", 5602)):
        text = text.replace(f"tcp://127.0.0.1:{port}", f"ipc://{folder}/{name}")
    file = folder / "robot.yaml"
    file.write_text(text)
    return read_robot(file)


@pytest.fixture
def cell(tmp_path, shared) -> Iterator[Cell]:
    cell = Cell(tmp_path, shared)
    yield cell
    cell.close()


@pytest.fixture
def robot() -> Iterator[Robot]:
    robot = Robot("--separate-gripper")
    yield robot
    robot.close()


def test_joints_go_by_their_names_and_the_gripper_with_them_in_the_arm_s_controller(cell, shared):
    cell.probe.openings = np.array([1.2])
    cell.probe.ramp(cell.probe.away)
    cell.probe.reaches(cell.probe.away, "to a target")
    places = shared.says()["places"]
    np.testing.assert_allclose([places[name] for name in JOINTS], cell.probe.away, atol=0.01)
    assert places["gripper"] == pytest.approx(1.2, abs=0.01)
    assert cell.probe.newest.fingers == pytest.approx([1.2], abs=0.05)


def test_states_are_as_old_as_ros_says_and_none_is_told_twice(cell):
    states = cell.probe.watch(0.5)
    assert len(states) > 45
    assert (np.diff([state.time for state in states]) > 0).all()
    assert np.median(np.diff([state.time for state in states])) < 0.011


def test_velocities_that_nobody_says_are_differences(cell):
    turning = max((state.dq[4] for state in cell.probe.ramp(4 * cell.probe.away - 3 * cell.probe.home)), default=0.0)
    assert 0.5 < turning < 2.0


def test_joints_may_come_in_several_messages_and_what_is_no_number_does_not_count():
    states = JointStates(stamped=True)
    for at, names, positions, velocities in (
        (7.0, ["a", "b"], [0.1, 0.2], [1.0]),
        (7.1, ["c"], [0.3], []),
        (7.2, ["b", "a"], [None, 0.4], [0.5, None]),
    ):
        header = {"stamp": {"sec": int(at), "nanosec": round(at % 1 * 1e9)}}
        states.take({"header": header, "name": names, "position": positions, "velocity": velocities}, 50 + at)
    joints = states.newest()
    assert [joints[name].position for name in "abc"] == [0.4, 0.2, 0.3]
    np.testing.assert_array_equal([joints[name].velocity for name in "abc"], np.nan)
    assert [joints[name].at for name in "abc"] == pytest.approx([57.2, 57.0, 57.1], abs=1e-3)


def test_a_message_that_comes_late_is_as_old_as_its_stamp_says():
    for stamped, at in ((True, 57.01), (False, 57.4)):
        states = JointStates(stamped)
        for nanoseconds, arrived in ((0, 57.0), (10_000_000, 57.4)):
            header = {"stamp": {"sec": 7, "nanosec": nanoseconds}}
            states.take({"header": header, "name": ["a"], "position": [0.0], "velocity": []}, arrived)
        assert states.newest()["a"].at == pytest.approx(at, abs=1e-3)


def test_an_arm_at_rest_is_held_where_it_was_measured_and_told_nothing(cell, shared):
    cell.probe.ramp(cell.probe.away)
    cell.probe.watch(1.0)
    before = shared.says()
    cell.probe.watch(0.3)
    after = shared.says()
    assert after["taken"] == before["taken"]
    np.testing.assert_allclose([after["goals"][name] for name in JOINTS], cell.probe.newest.q, atol=0.002)


def test_joint_states_that_stop_or_grow_old_are_a_fault_until_they_are_there_again(tmp_path, robot):
    cell = Cell(tmp_path, robot, gripper_controller="gripper_controller")
    probe = cell.probe
    for trouble, mended in (("mute", "speak"), ("late 0.5", "late 0")):
        probe.ramp(probe.away)
        robot.type(trouble)
        assert "no new /joint_states for 0.1 s" in wait_for_fault(probe, True)
        robot.type(mended)
        cell.driver.recover()
        wait_for_fault(probe, False)
        stands_until_reset_and_then_goes(probe, 4)
    cell.close()


@pytest.mark.slow
def test_a_bridge_that_is_not_there_is_a_fault():
    with pytest.raises(ArmFault, match=r"no rosbridge at ws://.*refused"):
        Ros2Arm("ws://127.0.0.1:9", JOINTS, *LIMITS, controller="forward_position_controller")


@pytest.mark.slow
def test_a_lost_network_is_a_fault_and_what_was_under_way_moves_nothing_when_it_is_back(tmp_path, robot):
    cell = Cell(tmp_path, robot, gripper_controller="gripper_controller")
    probe, boot = cell.probe, cell.probe.newest.boot
    for trouble in ("stall 1", "hang_up 1"):
        probe.ramp(probe.away)
        robot.type(trouble)
        for _ in range(6):
            probe.send(probe.target(probe.away))
        assert probe.newest.fault
        time.sleep(1.0)
        cell.driver.recover()
        wait_for_fault(probe, False)
        stands_until_reset_and_then_goes(probe, 4)
    assert probe.newest.boot == boot
    cell.close()


@pytest.mark.slow
def test_a_robot_that_was_started_anew_is_driven_again(tmp_path, robot):
    cell = Cell(tmp_path, robot, gripper_controller="gripper_controller")
    robot.close()
    assert wait_for_fault(cell.probe, True)
    again = Robot("--separate-gripper", port=robot.port)
    again.type("deactivate")
    cell.driver.recover()
    cell.probe.watch(1.5)
    assert cell.probe.newest.fault  # of the controller, which only a person may activate
    again.close()
    once_more = Robot("--separate-gripper", port=robot.port)
    cell.driver.recover()
    wait_for_fault(cell.probe, False)
    stands_until_reset_and_then_goes(cell.probe, 4)
    cell.close()
    once_more.close()


@pytest.mark.parametrize(
    ("joints", "options", "said"),
    [
        (("shoulder_pam", *JOINTS[1:]), {"gripper": "grip"}, r"no shoulder_pam \(nearest: shoulder_pan\), grip \("),
        (JOINTS, {"gripper": None}, "also command gripper"),
        (JOINTS, {"gripper": "wheel"}, "do not command wheel"),
        (
            JOINTS,
            {"controller": "forward_controller"},
            r"no controller forward_controller \(nearest: forward_",
        ),
    ],
)
def test_wrong_names_are_named_with_the_nearest(shared, joints, options, said):
    options = {"controller": "forward_position_controller", "gripper": "gripper", **options}
    with pytest.raises(UserError, match=said):
        Ros2Arm(shared.url, joints, *LIMITS, **options)


def test_a_controller_that_is_not_active_is_a_fault_and_no_address_a_mistake(robot):
    robot.type("deactivate")
    robot.says()
    with pytest.raises(ArmFault, match="is inactive; activate it: ros2 control switch_controllers"):
        Ros2Arm(robot.url, JOINTS, *LIMITS, controller="forward_position_controller", gripper="gripper")
    with pytest.raises(UserError, match="a bridge is written ws://"):
        Ros2Arm("192.168.1.20", JOINTS, *LIMITS, controller="forward_position_controller")


def test_joints_and_limits_are_those_of_robot_yaml_in_the_robot_s_order(tmp_path):
    config = robot_with_a_gripper(tmp_path)
    assert joints_of(config, None) == JOINTS
    velocity, braking = limits_of(config)
    np.testing.assert_allclose(velocity, config.safety.velocity * config.safety.overspeed)
    assert braking == 6.0
    twin = read_robot("twin")
    assert [joints_of(twin, None)[place] for place in twin.joint_map.index] == list(twin.joints)
    with pytest.raises(UserError, match="write 5 names"):
        joints_of(config, ["shoulder_pan"])


@pytest.mark.parametrize("options", [[], ["--gripper", "gripper", "--joints", "one", "two"]])
def test_a_mistake_on_the_command_line_is_named(tmp_path, options):
    robot_with_a_gripper(tmp_path)
    with pytest.raises(UserError, match=r"with --gripper JOINT|--joints: write 5 names"):
        main(["ws://127.0.0.1:9", "--robot", str(tmp_path / "robot.yaml"), *options])


def start(folder: Path, robot: Robot, *options: str) -> Program:
    """The driver as a command."""
    command = ("robot_bridge.drivers.ros2", robot.url, "--robot", str(folder / "robot.yaml"), "--gripper", "gripper")
    addresses = ("--state-address", f"ipc://{folder}/state", "--target-address", f"ipc://{folder}/target")
    driver = Program(sys.executable, "-m", *command, *addresses, *options)
    driver.out.wait_for("^ros2: state at", 30)
    return driver


def test_a_dry_run_prints_targets_and_publishes_nothing(tmp_path, shared):
    config, before = robot_with_a_gripper(tmp_path), shared.says()["taken"]
    driver = start(tmp_path, shared, "--dry-run")
    probe = Probe.to(config, 4, 0.1)
    probe.stays([probe.target(probe.away) for _ in range(8)], "a dry run")
    driver.out.wait_for(r"^\d+ \[.*fingers", 10)
    assert shared.says()["taken"] == before
    probe.close()
    driver.type("quit")
    assert driver.popen.wait(20) == 0


@pytest.mark.slow
@pytest.mark.parametrize("options", [(), ("--separate-gripper",)])
def test_it_passes_every_check(tmp_path, options):
    robot_with_a_gripper(tmp_path)
    robot = Robot(*options)
    driver = start(tmp_path, robot, *(["--gripper-controller", "gripper_controller"] if options else []))

    def attempt() -> None:
        check = Program(sys.executable, "-m", "robot_bridge.check", str(tmp_path / "robot.yaml"))
        status = check.popen.wait(180)
        print(check.out.text(), check.err.text())
        assert status == 0
        assert check.out.text().count("passed  ") == len(CHECKS) + 6

    with_patience(attempt)
    driver.kill()
    robot.close()
