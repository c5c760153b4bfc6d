"""The twin and the kinematics of its arm; the whole path in three processes."""

import threading
import time

import numpy as np
import pytest

pytest.importorskip("mujoco")
pytest.importorskip("mink")
pytest.importorskip("robosuite")

import mujoco

from common.errors import UserError
from robot_bridge.config import CONFIGS, RobotConfigError, read_robot
from robot_bridge.drivers.link import RobotLink
from robot_bridge.kinematics import Kinematics
from robot_bridge.models import load_model
from robot_bridge.panda import HOME
from robot_bridge.twin import Faults, Twin
from robot_bridge.twin_robot import WIRING, panda_twin
from robot_bridge.twin_scene import load_scene
from sim.libero.assets import build as build_pack
from sim.libero.env import LiberoEnv
from sim.libero.scene_export import write as write_scene
from tests.robot_bridge.policies import until

STILL = np.array([0, 0, 0, 0, 0, 0, -1.0])


@pytest.fixture(scope="module")
def arm() -> Kinematics:
    config = read_robot("twin")
    return Kinematics(load_model(config.model), config.joints, config.arms[0].site, "base")


def test_inverse_kinematics_finds_poses_nearby(arm: Kinematics):
    rng = np.random.default_rng(0)
    q = np.array(HOME)
    for _ in range(20):
        goal = q + rng.normal(0, 0.08, 7)
        position, rotation = arm.pose(goal)
        found = arm.solve(position, rotation, q)
        reached = arm.pose(found)
        np.testing.assert_allclose(reached[0], position, atol=5e-4)
        np.testing.assert_allclose(reached[1], rotation, atol=5e-3)
        assert np.abs(found - q).max() < 1.0


def test_the_end_effector_is_where_libero_s_is_at_home(arm: Kinematics):
    position, rotation = arm.pose(np.array(HOME))
    np.testing.assert_allclose(position, [0.4515, 0, 0.2613], atol=1e-3)  # the grip site, from the arm's base
    assert rotation[2, 2] < -0.99  # the hand points down


def test_a_site_that_is_not_there_is_named():
    config = read_robot("twin")
    with pytest.raises(RobotConfigError, match="wrist"):
        Kinematics(load_model(config.model), config.joints, "wrist")


def test_the_twin_s_wiring_is_what_its_robot_yaml_says():
    joint_map = read_robot("twin").joint_map
    q = np.random.default_rng(0).uniform(-1, 1, 7)
    np.testing.assert_allclose(joint_map.to_real(q), WIRING.to_real(q))
    assert not np.allclose(WIRING.to_real(q), q, atol=0.1)


def test_the_template_for_a_franka_is_complete():
    config = read_robot("franka")
    assert config.cameras == {"agentview": "front", "eye_in_hand": "wrist"}
    np.testing.assert_array_equal(config.joint_map.to_real(np.arange(7.0)), np.arange(7.0))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("velocity:", "velocty:", "safety.velocity is missing"),
        ("  hold_after: 0.5", "  hold_later: 0.5", "unknown keys.*hold_later"),
        ("hold_after: 0.5", "hold_after: 9", "hold_after must be below"),
        ("mode: osc_delta", "mode: torque", "mode must be"),
        ("step: [0.12,", "step: [0,", "step must be above 0"),
        ("lower: [0.15,", "lower: [9,", "workspace.lower"),
        ("jerk: [240,", "jerk: [0,", "jerk must be above 0"),
        (", floor: -0.025", "", "safety.workspace.floor is missing"),
        ("floor: -0.025", "floor: low", "safety.workspace.floor must be a finite number"),
        ("floor: -0.025", "floor: 0.8", "safety.workspace.floor must be below"),
        ("velocity: [2.1,", "velocity: [.nan,", "finite"),
        ("real_dof: 7", "real_dof: 6", "robot's joints are 0 to 5"),
        ("latency: {arm: 0.095}", "latency: {arm: -1}", "latency.arm must be a number above 0, or 0"),
        ("latency: {arm: 0.095}", "latency: {camara: 1}", "unknown keys.*latency.camara"),
        ("latency: {arm: 0.095}", "osc: {stifness: 1}", "unknown keys.*osc.stifness"),
        ("following: {hold: [0.15,", "following: {hold: [0.5,", "following.hold must be above 0 and below stop"),
        ("stop: [0.4, 0.4,", "stop: [0.4,", "safety.following.stop must be 7 finite numbers"),
        ("patience: 0.5", "patiense: 0.5", "unknown keys.*following.patiense"),
        ("  unit", "  unit", None),
    ],
)
def test_mistakes_in_robot_yaml_are_named(tmp_path, old: str, new: str, message: str | None):
    file = tmp_path / "robot.yaml"
    file.write_text((CONFIGS / "twin.yaml").read_text().replace(old, new, 1))
    if message is None:
        assert read_robot(file).name == "twin"
    else:
        with pytest.raises(RobotConfigError, match=message):
            read_robot(file)


def test_faults_are_set_by_name():
    faults = Faults()
    for line in ("delay 0.1", "loss 0.5", "noise 0.01", "freeze 1", "stuck 3", "fault motor hot"):
        faults.set(line)
    assert faults == Faults(0.1, 0.5, True, 0.01, 3, "motor hot")
    faults.set("stuck none")
    assert faults.stuck is None
    for wrong in ("explode 1", "delay long"):
        with pytest.raises(UserError):
            faults.set(wrong)


def test_the_twin_goes_where_it_is_told_and_holds_when_nobody_tells(tmp_path):
    twin = Twin(f"ipc://{tmp_path}/state", f"ipc://{tmp_path}/target", camera_rate=0)
    thread = threading.Thread(target=twin.run)
    thread.start()
    link = RobotLink(twin.state_address, twin.target_address, 7)
    try:
        link.wait((), 20)
        goal = WIRING.to_real(np.array(HOME) + 0.1)

        def told_and_there() -> bool:
            link.target(goal, np.array([0.01]), False)
            received = link.state()
            return received is not None and np.abs(received.state.q - goal).max() < 0.01

        until(told_and_there, 30)
        twin.faults.stuck = 0
        twin.faults.set("fault motor hot")
        until(lambda: link.state().state.fault == "motor hot", 20)
        twin.faults.set("freeze 1")
        time.sleep(0.1)
        frozen = link.state()
        time.sleep(0.2)
        assert link.state() is frozen
    finally:
        twin.stop()
        thread.join(20)
        link.close()


def test_a_joint_that_was_stuck_when_the_arm_stopped_does_not_jump_when_it_is_freed(tmp_path):
    twin = Twin(f"ipc://{tmp_path}/state", f"ipc://{tmp_path}/target", camera_rate=0)
    thread = threading.Thread(target=twin.run)
    thread.start()
    link = RobotLink(twin.state_address, twin.target_address, 7)
    try:
        link.wait((), 20)
        home = link.state().state.q
        goal = WIRING.to_real(np.array(HOME) + 0.1)
        twin.faults.stuck = 2

        def others_are_there(stop: bool) -> bool:
            link.target(goal, np.array([0.04]), stop)
            time.sleep(0.02)
            return np.delete(np.abs(link.state().state.q - goal), 2).max() < 0.005

        until(lambda: others_are_there(stop=False), 30)
        until(lambda: others_are_there(stop=True) and np.abs(link.state().state.dq).max() < 0.005, 30)
        for _ in range(20):
            others_are_there(stop=True)
        twin.faults.stuck = None
        for _ in range(20):
            others_are_there(stop=True)
        assert abs(link.state().state.q[2] - home[2]) < 0.01
        assert others_are_there(stop=True)
    finally:
        twin.stop()
        thread.join(20)
        link.close()


def test_a_libero_task_is_a_scene_for_the_twin(tmp_path, libero_assets):
    task = write_scene("libero_goal", 0, 3, tmp_path / "scene.xml", libero_assets)
    assert "open the middle drawer" in task.language
    model = load_scene(panda_twin(), tmp_path / "scene.xml").model
    twin = Twin(f"ipc://{tmp_path}/state", f"ipc://{tmp_path}/target", camera_rate=0, scene=str(tmp_path / "scene.xml"))
    mujoco.mj_forward(model, twin.world.data)

    env = LiberoEnv("libero_goal", 0, assets=libero_assets)
    env.restart(seed=3, init_state=3)
    for _ in range(10):
        env.advance(STILL)
    assert len(twin.world.objects()) >= 3
    for name, position in twin.world.objects().items():
        np.testing.assert_allclose(position, env.data.body(name).xpos, atol=1e-3)
    np.testing.assert_allclose(twin.world.data.body("link0").xpos, env.data.body("robot0_link0").xpos, atol=1e-6)
    np.testing.assert_allclose(twin.world.data.cam("agentview").xpos, env.data.cam("agentview").xpos, atol=1e-6)
    env.close()
    twin.stop()
    twin.run()


def test_a_scene_made_of_the_procedural_pack_says_so(tmp_path, libero_assets):
    write_scene("libero_goal", 0, 0, tmp_path / "published.xml", libero_assets)
    assert load_scene(panda_twin(), tmp_path / "published.xml").notice == ""
    write_scene("libero_goal", 0, 0, tmp_path / "pack.xml", build_pack().path)
    assert "made of the procedural pack" in load_scene(panda_twin(), tmp_path / "pack.xml").notice


def test_a_scene_in_which_the_arm_cannot_stand_is_refused(tmp_path):
    file = tmp_path / "scene.xml"
    with pytest.raises(UserError, match=r"cannot read the scene.*sim\.scene"):
        load_scene(panda_twin(), file)
    file.write_text("<mujoco><worldbody><body name='robot_base'/></worldbody></mujoco>")
    with pytest.raises(UserError, match="no camera 'agentview'"):
        load_scene(panda_twin(), file)
    file.write_text("<mujoco><worldbody><camera name='agentview'/></worldbody></mujoco>")
    with pytest.raises(UserError, match="no body 'robot_base'"):
        load_scene(panda_twin(), file)
