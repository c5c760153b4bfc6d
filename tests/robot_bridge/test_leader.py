"""A leader arm of LeRobot's ``Teleoperator`` interface, and what the follower is asked to do."""

import json
import textwrap
import time
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from common.errors import UserError
from robot_bridge.asker import Observation
from robot_bridge.config import CONFIGS, RobotConfig, read_robot
from robot_bridge.leader import GOES_OVER, PAUSE, TOGETHER, LeaderTeleoperation
from tests.robot_bridge.processes import Bench

JOINTS = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll")
HOME = np.array([0.0, -0.9, 0.9, 0.9, 0.0])


class Leader:
    """An SO-101 as ``lerobot.teleoperators.so_leader`` has it, in degrees; a hand puts it to ``radians``."""

    action_features = {f"{name}.pos": float for name in (*JOINTS, "gripper")}  # noqa: RUF012 (LeRobot's)
    is_calibrated, connected = True, False

    def __init__(self, radians: np.ndarray = HOME, gripper: float = 50.0):
        self.radians, self.gripper = radians, gripper

    def connect(self, calibrate: bool = True) -> None:
        assert not calibrate, "nobody is there to calibrate"
        self.connected = True

    def get_action(self) -> dict[str, float]:
        if not self.connected:
            raise ConnectionError("There is no status packet!")
        degrees = dict(zip(JOINTS, np.degrees(self.radians).tolist(), strict=True), gripper=self.gripper)
        return {f"{name}.pos": value for name, value in degrees.items()}

    def disconnect(self) -> None:
        self.connected = False


def turned(pan: float, lift: float = 0.0, roll: float = 0.0) -> np.ndarray:
    """Home with some joints turned by so much."""
    return HOME + np.array([pan, lift, 0, 0, roll])


class Arm:
    """The arm that is led, with its gripper open, as the loop sees it every 0.05 s."""

    def __init__(self, leader: Leader, config: RobotConfig | None = None):
        self.said: list[str] = []
        self.person = LeaderTeleoperation(lambda: leader, config or read_robot("so101"), self.said.append)
        self.now, self.q = 100.0, HOME

    def asks(self) -> np.ndarray:
        """What it is to do (6,), now and for the whole chunk."""
        self.now += 0.05
        chunk = self.person.ask(Observation(0, self.now, np.zeros((0, 1, 1, 3)), self.q, np.array([100.0])))
        np.testing.assert_array_equal(chunk, np.tile(chunk[0], (16, 1)))
        return chunk[0]


def test_the_arm_stands_until_the_leader_has_been_brought_to_it_and_then_follows_without_a_jump():
    leader = Leader(turned(0.6), gripper=20.0)
    arm = Arm(leader)
    for _ in range(20):
        np.testing.assert_allclose(arm.asks(), [*HOME, 1.0])  # the gripper stays as open as it was
    assert arm.said == ["leader: bring it to the arm; shoulder_pan by -34 degrees, the others less, to within 10"]
    leader.radians = turned(0.9 * TOGETHER)
    targets = [arm.asks() for _ in range(int(GOES_OVER / 0.05) + 2)]
    assert arm.said[1:] == ["leader: the arm follows"]
    np.testing.assert_allclose(targets[0][:5], HOME, atol=1e-9)
    steps = np.diff([target[0] for target in targets])
    assert -1e-9 < steps.min() <= steps.max() < 0.06 * TOGETHER / GOES_OVER
    np.testing.assert_allclose(targets[-1], [*leader.radians, 0.2], atol=1e-9)


def test_it_follows_wherever_the_leader_goes():
    leader = Leader()
    arm = Arm(leader)
    for way in np.linspace(0, 1.2, 30):
        leader.radians = turned(way, way / 2)
        action = arm.asks()
    np.testing.assert_allclose(action[:5], leader.radians)


@pytest.mark.parametrize("break_off", ["a pause", "a new episode", "a leap"])
def test_after_a_break_the_leader_has_to_be_brought_to_the_arm_again(break_off):
    leader = Leader()
    arm = Arm(leader)
    arm.asks()
    leader.radians = turned(0.4)
    assert arm.asks()[0] == pytest.approx(0.4)
    if break_off == "a pause":
        arm.now += PAUSE
    elif break_off == "a new episode":
        arm.person.begin()
    else:
        leader.radians = turned(0.4, roll=2 * np.pi)
    arm.q = turned(-0.5)
    for _ in range(3):
        np.testing.assert_allclose(arm.asks()[:5], arm.q)
    leader.radians = arm.q
    if break_off == "a leap":
        arm.asks()  # back around: a leap again
    arm.asks()
    assert arm.said.count("leader: the arm follows") == 2


def test_joints_and_gripper_go_by_the_robot_s_own_map_and_meaning():
    config = read_robot("so101")
    flipped = replace(config.joint_map, sign=np.array([-1, 1, 1, 1, 1]), offset=np.array([0.1, 0, 0, 0, 0]))
    part = replace(config.arms[0], gripper=replace(config.arms[0].gripper, action="sign"))
    leader = Leader(turned(0.3), gripper=80.0)
    arm = Arm(leader, replace(config, joint_map=flipped, arms=(part,)))
    arm.q = turned(-0.2)
    np.testing.assert_allclose(arm.asks(), [*arm.q, -1])  # open
    leader.gripper = 10.0
    assert arm.asks()[5] == 1


def test_a_leader_that_does_not_answer_is_an_error_of_the_question():
    leader = Leader()
    arm = Arm(leader)
    leader.connected = False
    with pytest.raises(ConnectionError, match="no status packet"):
        arm.asks()


@pytest.mark.parametrize(
    ("leader", "config", "said"),
    [
        (type("New", (Leader,), {"is_calibrated": False})(), read_robot("so101"), "lerobot-calibrate"),
        (Leader(), read_robot("ur5e"), "ur5e has 6"),
        (Leader(), read_robot("twin"), "must have mode: joint_target"),
    ],
)
def test_what_cannot_lead_is_named(leader, config, said):
    with pytest.raises(UserError, match=said):
        Arm(leader, config)
    assert not leader.connected


def write_lerobot(folder: Path, pose: Path) -> None:
    """A package of that name with one leader, whose pose (rad, and the gripper) is in a file."""
    package = folder / "lerobot" / "teleoperators"
    package.mkdir(parents=True)
    (folder / "lerobot" / "__init__.py").touch()
    (package / "__init__.py").write_text("from .so_leader import TeleoperatorConfig\n")
    (package / "utils.py").write_text(
        "from .so_leader import SOLeader\n\ndef make_teleoperator_from_config(config): return SOLeader(config)\n"
    )
    (package / "so_leader.py").write_text(
        textwrap.dedent(f"""
        import json
        from dataclasses import dataclass

        import numpy as np

        from tests.robot_bridge.test_leader import Leader

        class TeleoperatorConfig:
            @staticmethod
            def get_known_choices(): return {{"so101_leader": Config}}

        @dataclass
        class Config:
            port: str
            id: str = ""
            use_degrees: bool = False

        class SOLeader(Leader):
            def __init__(self, config):
                assert config.use_degrees and config.port == "/dev/ttyACM1"

            def get_action(self):
                *radians, self.gripper = json.load(open({str(pose)!r}))
                self.radians = np.array(radians)
                return super().get_action()
        """)
    )


def put(pose: Path, radians: np.ndarray, gripper: float) -> None:
    """Where a hand holds the leader of ``write_lerobot``."""
    fresh = pose.with_suffix(".new")
    fresh.write_text(json.dumps([*radians.tolist(), gripper]))
    fresh.replace(pose)


@pytest.mark.slow
def test_an_episode_is_recorded_by_a_leader(tmp_path, monkeypatch):
    pytest.importorskip("mink")
    pytest.importorskip("robosuite")
    from tests.robot_bridge.test_episodes import Terminal

    bench, pose = Bench(tmp_path), tmp_path / "pose.json"
    text = (CONFIGS / "so101.yaml").read_text().replace("model: ", f"model: {CONFIGS}/")
    text = text.replace("state_timeout: 0.2", "state_timeout: 0.5")  # of a busy machine
    text = text.replace("tcp://127.0.0.1:5601", bench.state).replace("tcp://127.0.0.1:5602", bench.target)
    bench.robot.write_text(text)
    write_lerobot(tmp_path / "packages", pose)
    put(pose, turned(0.5), 100)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path / 'packages'}:{Path.cwd()}")
    bench.twin("--robot", str(bench.robot))
    terminal = Terminal(bench, "--by", "leader", "--set", "port=/dev/ttyACM1", "--episodes", "1")
    try:
        terminal.wait_for("Enter: begin +q: leave")
        terminal.press(b"\n")
        terminal.wait_for("leader: bring it to the arm; shoulder_pan")
        time.sleep(1.0)
        put(pose, HOME, 100)
        terminal.wait_for("leader: the arm follows")
        for way in np.linspace(0, 0.4, 40):
            put(pose, turned(way), 0)
            time.sleep(0.05)
        time.sleep(1.5)
        terminal.press(b"\n")
        terminal.wait_for("s: success")
        terminal.press(b"s\n")
        assert terminal.end() == 0
    finally:
        bench.close()
    with h5py.File(terminal.record / "wave_demo.hdf5") as file:
        demo = file["data/demo_0"]
        commanded, actions = np.asarray(demo["robot/commanded_sim"]), np.asarray(demo["actions"])
    assert np.abs(commanded[:20] - commanded[0]).max() < 0.01  # it stood
    assert np.abs(np.diff(commanded, axis=0)).max() < 0.06
    np.testing.assert_allclose(commanded[-1], turned(0.4), atol=0.06)
    assert actions[-1, -1] == 0  # closed, as the leader's
