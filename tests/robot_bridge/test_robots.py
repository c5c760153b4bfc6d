"""One loop, other robots: a UR5e, an SO-101, two arms at once, and joints that only one side has."""

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

pytest.importorskip("mink")
pytest.importorskip("robosuite")

import mujoco

from common.embodiment import LIBERO, Embodiment, Group
from common.errors import UserError
from policy.chunks import OverlapBlend
from robot_bridge.actions import state_reader
from robot_bridge.asker import Asker, Observation
from robot_bridge.config import CONFIGS, FollowingConfig, RobotConfigError, read_robot
from robot_bridge.drivers.link import RobotLink
from robot_bridge.kinematics import limbs_of
from robot_bridge.loop import ControlLoop
from robot_bridge.osc import references_of
from robot_bridge.rotations import rotation_vector
from robot_bridge.run import check_policy
from robot_bridge.safety import Mode
from robot_bridge.separation import Separation
from tests.robot_bridge.policies import until, with_patience
from tests.robot_bridge.processes import Process

SWING = 0.25
"""Rad that each joint is sent away from home."""


class Cell:
    """A twin in a process of its own and the loop in a thread, joined by real sockets; ``ask`` is the policy."""

    def __init__(self, folder: Path, robot: Path, ask: Callable[[Observation], np.ndarray]):
        addresses = {"state_address": f"ipc://{folder}/state", "target_address": f"ipc://{folder}/target"}
        config = read_robot(robot)
        late = FollowingConfig(hold=1.0, stop=2.0)  # as everything may be on a busy machine
        safety = replace(config.safety, state_timeout=1.0, hold_after=1.0, stop_after=5.0, following=late)
        safety = replace(safety, overspeed=4.0, soft_start_seconds=0.1)
        self.config = config = replace(config, safety=safety, **addresses)
        there = ("--state-address", config.state_address, "--target-address", config.target_address)
        self.twin = Process("robot_bridge.twin", "--robot", str(robot), "--camera-rate", "0", *there)
        self.twin.out.wait_for("^twin:", 60)
        self.link = RobotLink.to(config)
        self.link.wait((), 20)
        self.asker = Asker(ask)
        parts = limbs_of(config), self.asker, OverlapBlend()
        references = references_of(config, config.rate)
        self.loop = ControlLoop(
            config, self.link, *parts, views=(), image_size=(1, 1), rate=config.rate, references=references
        )
        self._thread = threading.Thread(target=self.loop.run)
        self._thread.start()

    @property
    def q(self) -> np.ndarray:
        """Measured, simulator order, rad; joints that the robot lacks at 0."""
        return self.config.joint_map.to_sim(self.link.state().state.q, np.zeros(len(self.config.joints)))

    def close(self) -> None:
        if self.twin.popen.poll() is not None:
            return
        self.loop.quit()
        self._thread.join(10)
        self.asker.close()
        self.link.close()
        self.twin.kill()


@pytest.fixture
def cell(tmp_path):
    cells: list[Cell] = []

    def make(robot: Path, ask: Callable[[Observation], np.ndarray]) -> Cell:
        for before in cells:
            before.close()
        cells.append(Cell(tmp_path, robot, ask))
        return cells[-1]

    yield make
    for made in cells:
        made.close()


def to(row: list[float] | np.ndarray) -> Callable[[Observation], np.ndarray]:
    """A policy that asks for the same all the time."""
    return lambda observation: np.tile(np.asarray(row, float), (16, 1))


def changed(folder: Path, name: str, **changes) -> Path:
    """A template with other values, as a file."""
    robot = yaml.safe_load((CONFIGS / f"{name}.yaml").read_text()) | changes
    if robot["model"].endswith(".xml"):
        robot["model"] = str(CONFIGS / robot["model"])
    (folder / "robot.yaml").write_text(yaml.safe_dump(robot))
    return folder / "robot.yaml"


def two_arms(folder: Path) -> Path:
    """Two SO-101 side by side in one model; their robot has the right arm's joints first."""
    spec = mujoco.MjSpec()
    for name, side in (("left", 0.2), ("right", -0.2)):
        arm = mujoco.MjSpec.from_file(str(CONFIGS / "so101.xml"))
        spec.attach(arm, prefix=f"{name}_", frame=spec.worldbody.add_frame(pos=[0, side, 0]))
    spec.compile()
    (folder / "two.xml").write_text(spec.to_xml())
    one = yaml.safe_load((CONFIGS / "so101.yaml").read_text())
    robot = {key: one[key] for key in ("state_address", "target_address", "mode", "latency")}
    robot |= {"name": "two", "model": "two.xml", "home": one["home"] * 2, "arms": {}}
    for name in ("left", "right"):
        gripper = one["gripper"] | {"joints": {f"{name}_gripper": [-0.17, 1.74]}}
        joints = [f"{name}_{joint}" for joint in one["joints"]]
        robot["arms"][name] = {"joints": joints, "site": f"{name}_gripperframe", "base": f"{name}_base"}
        robot["arms"][name]["gripper"] = gripper
    robot["arms"]["right"]["workspace"] = {"lower": [0.08, -0.3, 0.01], "upper": [0.42, 0.05, 0.4], "floor": 0.0}
    index = [5, 6, 7, 8, 9, 0, 1, 2, 3, 4]
    robot["joint_map"] = {"apply_sim_to_real_map": True, "real_dof": 10, "sim_to_real_idx": index, "unit": "deg"}
    robot["safety"] = one["safety"] | {
        key: one["safety"][key] * 2 for key in ("velocity", "acceleration", "jerk", "step")
    }
    position = one["safety"]["position"]
    robot["safety"]["position"] = {"lower": position["lower"] * 2, "upper": position["upper"] * 2}
    robot["safety"]["following"] = {"hold": [0.2] * 10, "stop": [0.5] * 10}
    (folder / "two.yaml").write_text(yaml.safe_dump(robot))
    return folder / "two.yaml"


@pytest.mark.parametrize(("name", "gripper"), [("ur5e", 1.0), ("so101", 0.0)])
def test_an_arm_of_six_and_one_of_five_joints_go_where_a_policy_sends_them(cell, tmp_path, name, gripper):
    robot = changed(tmp_path, name)
    config = read_robot(robot)
    goal = config.home + SWING * np.resize([0.6, -0.2], len(config.joints))
    made = cell(robot, to([*goal, gripper]))
    until(lambda: np.abs(made.q - goal).max() < 0.05, 30)
    until(lambda: abs(made.link.state().state.fingers[0]) < 0.15 * config.grippers[0].open, 10)
    assert made.loop.safety.watchdog.mode is Mode.RUNNING
    assert not made.loop.safety.interventions["bad_action"]


def test_the_hand_of_a_ur5e_goes_where_a_policy_of_poses_sends_it(cell, tmp_path):
    robot = changed(tmp_path, "ur5e", mode="pose_target")
    config = read_robot(robot)
    body = limbs_of(config)[0].body
    position, rotation = body.pose(config.home + 0.15 * np.array([1, -0.5, 0.5, 1, 0.5, -1]))
    made = cell(robot, to([*position, *rotation_vector(rotation), -1.0]))
    until(lambda: np.abs(body.pose(made.q)[0] - position).max() < 0.01, 30)
    assert np.linalg.norm(rotation_vector(body.pose(made.q)[1] @ rotation.T)) < 0.05


def test_two_arms_go_at_once_each_in_its_own_box(cell, tmp_path):
    robot = two_arms(tmp_path)
    config = read_robot(robot)
    left = config.home[:5] + np.array([-0.4, 0, 0, 0.2, 0.3])
    right = config.home[5:] + np.array([-0.4, 0, 0, -0.2, -0.3])

    def attempt() -> None:
        made = cell(robot, to([*left, 0.0, *right, 1.0]))
        bodies = [limb.body for limb in limbs_of(config)]
        until(lambda: np.abs(made.q[:5] - left).max() < 0.06, 30)
        until(lambda: bodies[1].pose(made.q[5:])[0][1] > 0.03, 10)
        until(lambda: bodies[0].pose(made.q[:5])[0][1] > 0.055, 10)  # beyond the right one's wall, which it has not
        assert bodies[1].pose(made.loop.safety.q[5:])[0][1] <= 0.05
        until(lambda: made.link.state().state.fingers[0] < 20 and made.link.state().state.fingers[1] > 80, 10)

    with_patience(attempt)


def test_two_arms_that_are_sent_to_each_other_stand_apart_and_go_on_when_they_are_sent_away(cell, tmp_path):
    robot = two_arms(tmp_path)
    text = yaml.safe_load(robot.read_text())
    text["arms"]["right"].pop("workspace")  # a wall between them
    text["safety"]["arms_apart"] = 0.15
    robot.write_text(yaml.safe_dump(text))
    config = read_robot(robot)
    arms = [(limb.body, limb.joints) for limb in limbs_of(config)]
    separation = Separation(config.safety.arms_apart, arms, config.home)
    towards = np.array([1.1, 0, 0, 0, 0])  # the left one turns right, the right one left
    asked = [*config.home[:5] + towards, 0.0, *config.home[5:] - towards, 0.0]
    made = cell(robot, lambda observation: np.tile(asked, (16, 1)))
    until(lambda: made.loop.safety.interventions["arms_apart"] > 5 and made.loop.safety.at_rest, 30)
    assert 0.15 <= separation.gaps(made.loop.safety.q[None])[0, 0] < 0.18
    assert separation.gaps(made.q[None])[0, 0] > 0.14
    assert not made.loop.safety.interventions["last_look"]
    asked[:] = [*config.home[:5], 0.0, *config.home[5:], 0.0]
    until(lambda: np.abs(made.q - config.home).max() < 0.06, 30)


def test_joints_that_only_one_side_has_stay_where_they_are(cell, tmp_path):
    keys = {"apply_sim_to_real_map": True, "real_dof": 7, "sim_to_real_idx": [3, 1, 0, 6, -1], "unit": "deg"}
    robot = changed(tmp_path, "so101", joint_map=keys)
    goal = read_robot(robot).home + SWING * np.array([1, -0.2, 0.2, 0.5, 1])
    made = cell(robot, to([*goal, 1.0]))
    until(lambda: np.abs(made.q[:4] - goal[:4]).max() < 0.05, 30)
    state = made.link.state().state
    assert state.q.shape == (7,)
    assert (state.q[[2, 4, 5]] == 0).all()
    assert made.loop.safety.q[4] == 0.0  # nobody measures it


@pytest.mark.parametrize(
    ("robot", "about", "rate", "words"),
    [
        ({}, {"action": (Group.of("arm", "joint_target", 7), LIBERO.action[1])}, 20, r"arm \(7 numbers, joint_target"),
        ({"mode": "joint_target"}, {}, 20, "write mode: osc_delta in robot.yaml"),
        ({}, {"state": (Group.of("joints", "joints", 6),)}, 20, r"wants the state joints \(6 numbers"),
        ({}, {"state": (Group.of("joints", "joints", 7), Group.of("tactile", "fingers", 4))}, 20, "tactile"),
        ({}, {"action": LIBERO.action[:1]}, 20, "it has nothing for gripper"),
        ({}, {"action": (LIBERO.action[0], Group.of("gripper", "gripper_opening", 1))}, 20, "action: opening under"),
        ({}, {"state": (Group("joints", "joints", 7, "deg"),)}, 20, r"deg\); the robot's is joints .*rad"),
        ({}, {"rate": 10.0}, 20, "meant for 10 Hz, the robot's rate is 20"),
    ],
)
def test_a_policy_that_means_something_else_is_refused_by_name(robot, about, rate, words):
    config = replace(read_robot("twin"), **robot)
    with pytest.raises(UserError, match=words):
        check_policy(config, {"embodiment": replace(LIBERO, **about).to_dict()}, rate, forced=False)


def test_a_policy_that_means_the_same_may_drive_and_another_rate_may_be_forced():
    config = read_robot("twin")
    assert check_policy(config, {"embodiment": LIBERO.to_dict()}, 20, forced=False) == LIBERO
    assert check_policy(config, {"embodiment": LIBERO.to_dict()}, 10, forced=True) == LIBERO
    assert check_policy(config, {}, 20, forced=False) is None
    with pytest.raises(UserError, match="an embodiment has state and action"):
        check_policy(config, {"embodiment": {"state": 3}}, 20, forced=False)


def test_the_state_has_what_the_policy_wants_in_its_order(tmp_path):
    config = read_robot(two_arms(tmp_path))
    wanted = ("right.fingers", "left.pose", "right.joints")
    groups = {group.name: group for group in config.embodiment.state}
    read = state_reader(config, Embodiment(tuple(groups[name] for name in wanted), ()))
    seen = Observation(0, time.monotonic(), np.zeros(0), np.arange(10.0), np.array([50, 60]), np.ones((2, 6)))
    np.testing.assert_array_equal(read(seen), [60, *[1] * 6, 5, 6, 7, 8, 9])
    everything = state_reader(config, None)(seen)
    np.testing.assert_array_equal(everything, [0, 1, 2, 3, 4, 50, 5, 6, 7, 8, 9, 60])


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("gripper: {open: 100, closed: 0", "gripper: {open: 1, closed: 1", "must differ"),
        ("action: opening", "action: grab", "gripper.action must be sign, opening or closing"),
        ("fingers: 1", "fingers: 0", "gripper.fingers must be"),
        ("home: [0, ", "home: [", "home must be 5 finite numbers"),
        ("mode: joint_target", "gripper_open: 0.04", "gripper_open has become gripper"),
        ("wrist: ", "wrist: ", None),
        ("agentview: front", "agentview: {name: front, size: [480]}", "cameras.agentview.size must be 2"),
    ],
)
def test_mistakes_in_a_description_are_named(tmp_path, old, new, message):
    text = (CONFIGS / "so101.yaml").read_text().replace("so101.xml", str(CONFIGS / "so101.xml"))
    file = tmp_path / "robot.yaml"
    file.write_text(text.replace(old, new, 1))
    if message is None:
        assert read_robot(file).name == "so101"
        return
    with pytest.raises(RobotConfigError, match=message):
        read_robot(file)
