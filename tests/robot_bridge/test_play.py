"""Playing motions: through joint map and limits to a robot, and a dry run that says where limits would cut."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

pytest.importorskip("mink")
pytest.importorskip("robosuite")

from common.errors import UserError
from common.joint_map import JointMap
from demos.forward_kinematics import forward_kinematics
from demos.motion import make_motion
from demos.motion_files import write_npy
from robot_bridge import play
from robot_bridge.asker import Observation
from robot_bridge.config import CONFIGS, read_robot
from robot_bridge.panda import HOME
from robot_bridge.playing import Targets, chunks_of, simulator_joints, targets_of
from sim import collect
from tests.robot_bridge.processes import Bench
from tests.robot_bridge.robots import IdealRobot
from tests.tokenizer.joints.examples import motion as joint_motion
from tests.tokenizer.joints.examples import train
from tests.tokenizer.joints.test_train import MAP_23_TO_29
from tokenizer.joints.clips import read_clips
from tokenizer.joints.code_files import decode_file, encoded, write_codes
from tokenizer.joints.model import JointTokenizer

ARM = Path(__file__).parents[2] / "checkpoints" / "joints-arm.safetensors"


def arm_motion(folder: Path, size: float = 0.15, seconds: float = 2.0, rate: float = 50.0) -> Path:
    """The Panda about its home, one file."""
    t = np.arange(round(seconds * rate)) / rate
    wave = size * (1 - np.cos(2 * np.pi * t / seconds * 0.75))[:, None]
    path = folder / "motion.npy"
    write_npy(path, [make_motion("wave", rate, np.array(HOME) + wave * [1, 0.5, -1, 0.3, 0.5, -0.5, 1])])
    return path


def dry(path: Path, *options: str, capsys: pytest.CaptureFixture[str]) -> dict:
    play.main([str(path), "--robot", "twin", "--dry-run", *options])
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def test_a_dry_run_says_where_limits_would_cut(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert dry(arm_motion(tmp_path), capsys=capsys)["cuts"] == []
    cuts = dry(arm_motion(tmp_path, size=0.9), capsys=capsys)["cuts"]
    assert cuts
    assert {"velocity"} <= {why for cut in cuts for why in cut["why"]}
    assert dry(arm_motion(tmp_path, size=0.3), "--speed", "0.5", capsys=capsys)["cuts"] == []


def test_the_way_to_the_first_pose_is_slow_and_the_motion_is_met_at_the_loops_rate(tmp_path: Path) -> None:
    motion = make_motion("m", 50, np.linspace([0.5] * 7, [0.9] * 7, 101))
    limits = np.full(7, 2.0)
    targets = targets_of(motion, 20, 1.0, np.zeros(7), limits, approach=0.25)
    way = targets.rows[: targets.approach + 1]
    assert np.abs(np.diff(way, axis=0)).max() * 20 <= 0.25 * 2.0
    np.testing.assert_allclose(way[-1], 0.5, atol=1e-6)
    np.testing.assert_allclose(targets.rows[targets.approach + 20], 0.7, atol=1e-3)  # a second later
    np.testing.assert_array_equal(targets.at(10_000), targets.rows[-1])


def gripper_numbers(targets: Targets, fingers: Sequence[float]) -> np.ndarray:
    """What the SO-101's gripper (0 closed to 1 open) is told for the next second, at first and when the fingers, in
    percent, have moved."""
    config = replace(read_robot("so101"), mode="joint_target")
    ask = chunks_of(targets, config)
    seen = [Observation(0, 0.0, np.zeros(0), np.zeros(5), np.array([place]), np.zeros((1, 6))) for place in fingers]
    return np.array([ask(observation)[:, -1] for observation in seen])


def test_a_recorded_gripper_is_told_what_it_was_told_not_where_the_held_thing_stopped_it() -> None:
    told = np.repeat([[100.0], [0.0]], 20, axis=0)
    motion = replace(make_motion("m", 20, np.zeros((40, 5))), openings=told)
    targets = targets_of(motion, 20, 1.0, np.zeros(5), np.ones(5), approach=0.25)
    late = replace(
        targets, rows=targets.rows[targets.approach + 10 :], openings=targets.openings[targets.approach + 10 :]
    )
    (numbers,) = gripper_numbers(late, [40.0])
    np.testing.assert_array_equal(numbers, np.repeat([1.0, 0.0], 10))
    slow = targets_of(motion, 20, 0.5, np.zeros(5), np.ones(5), approach=0.25)
    assert slow.openings[slow.approach :].ravel().tolist() == [100.0] * 40 + [0.0] * (
        len(slow.rows) - slow.approach - 40
    )


def test_fingers_that_are_left_as_they_are_do_not_yield_to_what_they_hold() -> None:
    targets = targets_of(make_motion("m", 20, np.zeros((40, 5))), 20, 1.0, np.zeros(5), np.ones(5), approach=0.25)
    first, later = gripper_numbers(targets, [40.0, 55.0])
    np.testing.assert_allclose(first, 0.4)
    np.testing.assert_array_equal(later, first)


def test_a_motion_of_the_robots_joints_goes_back_through_the_map() -> None:
    keys = {"apply_sim_to_real_map": True, "real_dof": 29, "sim_to_real_idx": MAP_23_TO_29}
    joint_map = JointMap.from_config(keys, 23)
    motion = joint_motion(0, joints=23)
    on_robot = make_motion("r", 30, joint_map.to_real(motion.joints, np.zeros(29)))
    back = simulator_joints(on_robot, joint_map).joints
    present = joint_map.present
    np.testing.assert_allclose(back[:, present], motion.joints[:, present], atol=1e-6)
    assert (back[:, ~present] == 0).all()
    with pytest.raises(UserError, match="5 joints; the simulator has 23, the robot 29"):
        simulator_joints(joint_motion(0, joints=5), joint_map)


def chain(folder: Path) -> Path:
    """A robot of 23 joints behind a driver of 29 at addresses in ``folder``, its joint map in a VQ-VAE's YAML."""
    links = '<site name="end" pos="0.02 0 0"/>'
    for number in reversed(range(23)):
        links = f'<body pos="0.02 0 0"><joint name="j{number}" axis="0 0 1"/><geom size="0.01"/>{links}</body>'
    (folder / "chain.xml").write_text(f"<mujoco><worldbody>{links}</worldbody></mujoco>")
    document = {"apply_sim_to_real_map": True, "real_dof": 29, "sim_to_real_idx": MAP_23_TO_29, "num_joints": 23}
    (folder / "g1.yaml").write_text(yaml.safe_dump({"agent": {"config": document}}))
    robot = yaml.safe_load((CONFIGS / "twin.yaml").read_text())
    robot |= {"model": "chain.xml", "site": "end", "mode": "joint_target", "joint_map": "g1.yaml"}
    robot |= {"state_address": f"ipc://{folder}/state", "target_address": f"ipc://{folder}/target"}
    robot["joints"] = [f"j{number}" for number in range(23)]
    del robot["home"]
    safety = robot["safety"]
    safety["position"] = {"lower": [-3.0] * 23, "upper": [3.0] * 23}
    for name, value in (("velocity", 6.0), ("acceleration", 60.0), ("jerk", 2000.0), ("step", 0.5)):
        safety[name] = [value] * 23
    safety["following"] = {"hold": [0.5] * 23, "stop": [1.0] * 23}
    safety["state_timeout"] = 0.5  # of a busy machine
    safety["workspace"] = {"lower": [-1, -1, -1], "upper": [1, 1, 1], "floor": -1}
    (folder / "robot.yaml").write_text(yaml.safe_dump(robot))
    return folder / "robot.yaml"


def test_codes_of_a_tokenizer_with_a_joint_map_play_on_the_robot_that_it_is_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    robot, data = chain(tmp_path), tmp_path / "motions.npy"
    write_npy(data, [joint_motion(seed, joints=23) for seed in range(6)])
    checkpoint = train(
        tmp_path, "--config", str(tmp_path / "g1.yaml"), "max_steps=2", "width=16", "code_dim=8", data=data
    )
    (tmp_path / "codes.json").write_text(json.dumps({"tokenizer": str(checkpoint), "codes": [1, 2, 3, 4]}))
    assert read_robot(robot).joint_map.real_dof == 29
    play.main([str(tmp_path / "codes.json"), "--robot", str(robot), "--dry-run"])
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["seconds"] == pytest.approx(0.5)
    play.main([str(data), "--clip", "0", "--robot", str(robot), "--dry-run"])
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["seconds"] == pytest.approx(59 / 30, abs=1e-3)
    with pytest.raises(UserError, match=r"has 6 motions .* choose one with --clip"):
        play.main([str(data), "--robot", str(robot), "--dry-run"])


def test_a_motion_of_23_joints_plays_on_a_robot_of_29_inside_its_limits(tmp_path: Path) -> None:
    bench = Bench(tmp_path)  # which writes a robot.yaml of its own
    robot_file = chain(tmp_path)
    config = read_robot(robot_file)
    t = np.arange(60) / 30
    waves = 0.3 * np.sin(np.pi * t[:, None] * np.linspace(0.5, 1.5, 23))
    write_npy(tmp_path / "motion.npy", [make_motion("waves", 30, waves)])
    begins = np.linspace(-0.2, 0.2, 29)
    robot = IdealRobot(tmp_path, begins)
    try:
        played = bench.start(
            "robot_bridge.play", str(tmp_path / "motion.npy"), "--robot", str(robot_file), "--priority", "0"
        )
        report = played.report()
        assert played.wait() == 0, played.err.text()
        assert report["motion"]["played"]
        assert report["motion"]["end_rad_max"] < 0.01
        assert report["motion"]["command_rad_max"] < 0.02
        joint_map, sent = config.joint_map, np.array([target.q for target in robot.targets])
        unnamed = np.setdiff1d(np.arange(29), joint_map.index)
        assert (sent[:, unnamed] == begins[unnamed]).all()
        named = joint_map.index[joint_map.present]
        np.testing.assert_allclose(sent[-1, named], waves[-1, joint_map.present], atol=0.01)
        steps = np.abs(np.diff(sent[:, named], axis=0))
        assert steps.max() * 20 <= config.safety.velocity.max()
        assert np.abs(sent[:, named]).max() < 3
    finally:
        bench.close()
        robot.close()


@pytest.mark.slow
def test_a_new_demonstration_rebuilt_from_its_codes_ends_on_the_twin_where_it_did(tmp_path: Path) -> None:
    command = ["--suite", "libero_object", "--tasks", "3", "--episodes", "1", "--seed", "4711", "--assets", "pack"]
    assert collect.main([*command, "--out", str(tmp_path), "--image-size", "32", "--workers", "1"]) == 0
    tokenizer, hand = JointTokenizer.load(ARM), forward_kinematics("panda", None)
    clip = read_clips("[libero_object:traj1]", str(tmp_path / "demos"), tokenizer.config, tokenizer.frame_rate)[0]
    write_codes(tmp_path / "codes.json", tokenizer, ARM, [encoded(tokenizer, clip)])
    (rebuilt,), _ = decode_file(tmp_path / "codes.json")
    bench = Bench(tmp_path)
    try:
        bench.twin()
        played = bench.start("robot_bridge.play", str(tmp_path / "codes.json"), "--robot", str(bench.robot))
        assert played.wait(90) == 0, played.err.text()
        report = played.report()
        assert report["motion"]["played"]
        assert report["motion"]["command_rad_max"] < 0.05  # limits changed next to nothing
        off = np.linalg.norm(hand(rebuilt)[-1, -1] - hand(clip.motion)[-1, -1])
        assert off + report["motion"]["end_m"] < 0.01
    finally:
        bench.close()


def test_a_motion_is_played_on_the_twin_inside_its_limits_and_ends_where_it_should(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    try:
        bench.twin()
        command = ("robot_bridge.play", str(arm_motion(tmp_path)), "--robot", str(bench.robot))
        played = bench.start(*command)
        report = played.report()
        assert played.wait() == 0, played.err.text()
        assert report["motion"]["played"]
        assert report["motion"]["end_m"] < 0.01
        assert report["motion"]["command_rad_max"] < 0.02
        assert report["errors"] == 0
    finally:
        bench.close()
