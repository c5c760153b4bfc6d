"""A calibration as a person does it: keys at a terminal, and a robot process whose arm is guided by hand."""

import signal
import time

import numpy as np
import pytest
import yaml

pytest.importorskip("mink")
pytest.importorskip("robosuite")

from PIL import Image

from robot_bridge.config import CONFIGS, read_robot
from robot_bridge.drivers.listener import StateListener
from tests.robot_bridge.policies import ConstantPolicy, serving, until
from tests.robot_bridge.processes import Bench, Terminal

WIRING = {
    "apply_sim_to_real_map": True,
    "real_dof": 7,
    "sim_to_real_idx": [5, -1, 2, 3, 0],
    "sign": [-1, 1, 1, 1, 1],
    "offset": [0.4, 0.0, -1.2, 0.0, 2.0],
}
"""Of an SO-101 whose robot has three joints that the model lacks, and lacks one of the model's."""
READY = "r: from here"
"""What the last line of each question has in it."""


class Calibration:
    """The command at a terminal, and the twin of ``wired`` (a robot.yaml) that is guided at its own."""

    def __init__(self, bench: Bench, wired: str, given: str, *options: str):
        self.out = bench.folder / "mine.yaml"
        self._bench, self._given, self._options = bench, given, options
        addresses = ("--state-address", bench.state, "--target-address", bench.target)
        faults = ("--fault", "noise 0.001", "--camera-rate", "10", "--image-size", "32")
        self.twin = bench.start("robot_bridge.twin", *addresses, *faults, "--robot", wired)
        self.twin.out.wait_for("^twin:")
        self._listener = StateListener(bench.state)
        self.open()

    def open(self) -> None:
        self.terminal = Terminal(
            self._bench, "robot_bridge.calibrate", self._given, "--out", str(self.out), *self._options
        )
        self._since = 0.0

    def asked(self, question: str) -> None:
        """Waits until that is asked, and the command looks on."""
        self._since = self.terminal.wait_for(READY, self.terminal.wait_for(question, self._since))

    def guide(self, *ways: str) -> None:
        """To each of them, until the arm stands there."""
        for way in ways:
            self.twin.type(f"guide {way}")
            self._listener.hear(0.2)
            until(lambda: np.ptp([self._q() for _ in range(3)], axis=0).max() < 0.002, 20)

    def _q(self) -> np.ndarray:
        """Where the arm is (real_dof,), with little noise."""
        states = []
        while len(states) < 5:
            states += self._listener.hear(0.05)
        return np.mean([state.q for state in states], axis=0)

    def press(self, key: bytes) -> None:
        self._since = time.monotonic()
        self.terminal.press(key)


@pytest.fixture
def bench(tmp_path):
    bench = Bench(tmp_path)
    yield bench
    bench.close()


def robot_file(bench: Bench, name: str, template: str, **changes) -> str:
    """A template with the bench's addresses and other values."""
    data = yaml.safe_load((CONFIGS / f"{template}.yaml").read_text()) | changes
    if template == "so101":
        data["model"] = str(CONFIGS / "so101.xml")
    data |= {"state_address": bench.state, "target_address": bench.target}
    file = bench.folder / name
    file.write_text(yaml.safe_dump(data))
    return str(file)


def test_guiding_the_arm_step_by_step_gives_a_robot_file_with_its_wiring_box_and_gripper(bench):
    wired = robot_file(bench, "wired.yaml", "so101", joint_map=WIRING)
    calibration = Calibration(bench, wired, robot_file(bench, "given.yaml", "so101"))
    for joint in ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll"):
        calibration.asked(f"^{joint} ")
        if joint in ("shoulder_pan", "wrist_roll"):
            calibration.guide(f"{joint} 0.4")
        calibration.press({"shoulder_lift": b"m", "elbow_flex": b"k", "wrist_flex": b"k"}.get(joint, b"\n"))
    calibration.asked("known pose of the picture")
    calibration.guide("home")
    calibration.press(b"\n")
    calibration.asked("^workspace of arm")
    calibration.guide("shoulder_pan 0.5", "shoulder_pan -1.0", "elbow_flex -0.6", "elbow_flex 1.0")
    calibration.press(b"\n")
    calibration.asked("^gripper of arm, open")
    calibration.press(b"k")
    calibration.asked("^gripper of arm, closed")
    calibration.guide("gripper 5")
    calibration.press(b"\n")
    calibration.asked("what changes")
    calibration.press(b"w")
    assert calibration.terminal.end() == 0, calibration.terminal.process.err.text()
    mine = read_robot(calibration.out)
    there = np.array(WIRING["sim_to_real_idx"]) >= 0
    assert mine.joint_map.index.tolist() == WIRING["sim_to_real_idx"]
    assert (mine.joint_map.sign * there).tolist() == (np.array(WIRING["sign"]) * there).tolist()
    np.testing.assert_allclose(mine.joint_map.offset * there, np.array(WIRING["offset"]) * there, atol=0.005)
    assert mine.joint_map.real_dof == 7
    assert mine.safety.workspace_lower[1] < -0.05 < 0.05 < mine.safety.workspace_upper[1]
    assert mine.grippers[0].closed == pytest.approx(5, abs=1)
    said = calibration.out.read_text()
    assert "# Measured by python -m robot_bridge.calibrate" in said
    assert "# shoulder_lift: the robot does not have it" in said
    for picture in ("mine.joints.png", "mine.workspace.png"):
        assert len(Image.open(bench.folder / picture).getcolors(1 << 20)) > 100
    assert not (bench.folder / "mine.measured.json").exists()


def test_a_file_that_is_there_is_not_written_over(bench):
    (bench.folder / "mine.yaml").write_text("name: precious\n")
    calibrate = bench.start("robot_bridge.calibrate", "twin", "--out", str(bench.folder / "mine.yaml"))
    assert calibrate.wait() == 2
    assert "mine.yaml is there already; --overwrite replaces it" in calibrate.err.text()


@pytest.mark.slow
def test_ctrl_c_keeps_what_was_measured_and_the_same_command_goes_on(bench):
    wired = robot_file(bench, "wired.yaml", "so101", joint_map=WIRING)
    calibration = Calibration(bench, wired, robot_file(bench, "given.yaml", "so101"))
    calibration.asked("^shoulder_pan ")
    calibration.guide("shoulder_pan 0.4")
    calibration.press(b"\n")
    calibration.asked("^shoulder_lift ")
    calibration.terminal.process.popen.send_signal(signal.SIGINT)
    assert calibration.terminal.end() == 130
    said = calibration.terminal.process.out.text()
    assert "mine.yaml was not written; what was measured is kept in" in said
    assert not calibration.out.exists()
    calibration.open()
    calibration.asked("^shoulder_lift ")
    assert "going on after 1 steps" in calibration.terminal.process.out.text()
    calibration.press(b"b")
    calibration.asked("so far: joint 5 of the robot, the other way")
    calibration.press(b"q")
    assert calibration.terminal.end() == 1


@pytest.mark.slow
def test_the_written_file_drives_the_loop(bench):
    as_it_comes = {"apply_sim_to_real_map": False}
    calibration = Calibration(bench, "twin", robot_file(bench, "given.yaml", "twin", joint_map=as_it_comes))
    for number in range(1, 8):
        calibration.asked(f"^joint{number} ")
        calibration.guide(f"joint{number} 0.4")
        calibration.press(b"\n")
    calibration.asked("known pose of the picture")
    calibration.guide("home")
    calibration.press(b"\n")
    calibration.asked("^workspace of arm")
    calibration.guide("hand 0.6 0.3 0.3", "hand 0.6 -0.3 0.3", "hand 0.35 0 0.3", "hand 0.5 0 0.6", "hand 0.5 0 0.05")
    calibration.press(b"\n")
    for end in ("open", "closed"):
        calibration.asked(f"^gripper of arm, {end}")
        calibration.press(b"k")
    calibration.asked("what changes")
    calibration.press(b"w")
    assert calibration.terminal.end() == 0
    calibration.guide("home")
    with serving(ConstantPolicy(), bench.policy):
        run = bench.start(
            *("robot_bridge.run", "--server", bench.policy, "--robot", str(calibration.out), "--task", "stay"),
            *("--seconds", "2", "--no-stop-key"),
        )
        assert run.wait(60) == 0, run.err.text()
    assert run.report()["ticks"] > 20
    assert "stop" not in run.report()["interventions"]
