"""LIBERO tasks as gymnasium environments, on real LIBERO."""

import multiprocessing
import os
import subprocess
import sys
import warnings
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from scipy.spatial.transform import Rotation

from common.errors import UserError
from common.gl import RenderingUnavailable
from sim.libero.env import LiberoEnv
from sim.libero.renderer import CameraRenderer

ROOT = Path(__file__).parents[3]
HOLD = np.array([0, 0, 0, 0, 0, 0, -1], dtype=np.float32)


@pytest.fixture(scope="module")
def env(libero_assets: Path):
    env = LiberoEnv("libero_object", 0, image_size=48, max_steps=3)
    yield env
    env.close()


def test_it_keeps_gymnasiums_contract(env: LiberoEnv):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*(infinity|render).*")
        check_env(env, skip_render_check=True)


def test_every_task_is_registered():
    assert sum(name.startswith("amplify/libero_") for name in gymnasium.registry) == 130
    assert gymnasium.spec("amplify/libero_90-89-v0").kwargs == {"suite": "libero_90", "task": 89}


def test_gymnasium_makes_tasks_by_their_name():
    code = (
        "import gymnasium, os, sim; assert 'MUJOCO_GL' not in os.environ; "
        "env = gymnasium.make('amplify/libero_goal-7-v0', image_size=(32, 48)); "
        "observation, info = env.reset(seed=0); "
        "print(env.spec.max_episode_steps, observation['images'].shape, info['instruction'])"
    )
    surroundings = {name: value for name, value in os.environ.items() if name != "MUJOCO_GL"}
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, env=surroundings)
    assert out.stdout.strip() == "300 (2, 32, 48, 3) turn on the stove", out.stderr


def test_the_pose_of_the_hand_is_observed_as_libero_does(env: LiberoEnv):
    observation, _ = env.reset(seed=0, options={"init_state": 0})
    robot = env.problem.robots[0]
    np.testing.assert_allclose(observation["ee_pos"], env.data.site("gripper0_grip_site").xpos, atol=1e-6)
    turn = Rotation.from_rotvec(observation["ee_ori"]).as_matrix()
    np.testing.assert_allclose(turn, env.data.body(robot.robot_model.eef_name).xmat.reshape(3, 3), atol=1e-6)


@pytest.mark.parametrize("action", [np.full(7, np.nan), np.zeros(6), np.zeros((1, 7)), np.full(7, np.inf)])
def test_an_action_that_is_none_is_refused_and_changes_nothing(env: LiberoEnv, action: np.ndarray):
    env.restart(seed=0, init_state=0)
    before = env.state()
    with pytest.raises(UserError, match="seven finite numbers"):
        env.step(action)
    np.testing.assert_array_equal(env.state(), before)


def test_options_that_nobody_reads_are_refused(env: LiberoEnv):
    with pytest.raises(UserError, match=r"'initial_state'.*it has 'init_state'"):
        env.reset(options={"initial_state": 3})


@pytest.mark.parametrize(
    "options", [{"max_steps": 0}, {"image_size": 0}, {"image_size": (64, -1)}, {"render_mode": "human"}]
)
def test_arguments_that_make_no_sense_are_refused(options: dict):
    with pytest.raises(UserError, match=next(iter(options))):
        LiberoEnv("libero_object", 0, **options)


def test_an_environment_in_a_fork_of_a_process_that_rendered_says_what_to_do(env: LiberoEnv):
    env.reset(seed=0)
    fork = multiprocessing.get_context("fork")
    answers = fork.SimpleQueue()

    def make_and_render() -> None:
        try:
            LiberoEnv("libero_object", 0, image_size=32).reset(seed=0)
        except RenderingUnavailable as error:
            answers.put(str(error))

    child = fork.Process(target=make_and_render)
    child.start()
    child.join(60)
    child.kill()
    assert not answers.empty()
    assert 'context="spawn"' in answers.get()


def test_it_is_truncated_at_the_step_limit_and_not_terminated(env: LiberoEnv):
    env.restart(seed=0, init_state=0)
    outcomes = [env.advance(HOLD)[1:3] for _ in range(3)]
    assert outcomes == [(False, False), (False, False), (False, True)]


def test_an_init_state_gives_the_same_start_whatever_ran_before(env: LiberoEnv):
    env.restart(seed=7, init_state=3)
    first = env.state(), env.model.body_pos.copy()
    env.restart(seed=8, init_state=11)
    for _ in range(2):
        env.advance(np.ones(7))
    env.restart(seed=7, init_state=3)
    np.testing.assert_array_equal(env.state(), first[0])
    np.testing.assert_array_equal(env.model.body_pos, first[1])


def test_the_same_seed_gives_the_same_states_bit_for_bit(env: LiberoEnv):
    def play() -> np.ndarray:
        env.restart(seed=5)
        rng = np.random.default_rng(0)
        for _ in range(10):
            env.advance(rng.uniform(-1, 1, 7))
        return env.state()

    first = play()
    env.restart(seed=1, init_state=2)
    env.advance(np.ones(7))
    np.testing.assert_array_equal(play(), first)


def test_seeds_place_objects_differently_and_leave_numpys_generator_alone(env: LiberoEnv):
    np.random.seed(3)  # noqa: NPY002
    expected = np.random.random()  # noqa: NPY002
    np.random.seed(3)  # noqa: NPY002
    env.restart(seed=0)
    first = env.state()
    env.restart(seed=1)
    assert not np.allclose(env.state(), first)
    assert np.random.random() == expected  # noqa: NPY002


def test_images_are_upright(env: LiberoEnv):
    """The agent view looks down at the workspace from in front: what is low in the image is near."""
    env.restart(seed=0, init_state=0)
    image, depth = env.render_view_with_depth("agentview")
    assert depth[:8].mean() > depth[-8:].mean() + 0.3
    np.testing.assert_array_equal(image, env.render_view("agentview"))


def test_leaving_out_what_a_camera_cannot_see_changes_no_pixel(env: LiberoEnv, monkeypatch: pytest.MonkeyPatch):
    env.restart(seed=0, init_state=0)
    culled = env.observe()["images"]
    hidden = env.renderer("eye_in_hand")._out_of_sight(env.data, env.model.camera("robot0_eye_in_hand").id)
    assert hidden.sum() > 20
    monkeypatch.setattr(CameraRenderer, "_out_of_sight", lambda *_: np.zeros(env.model.ngeom, dtype=bool))
    np.testing.assert_array_equal(env.observe()["images"], culled)


def test_a_state_of_another_task_is_refused(env: LiberoEnv):
    with pytest.raises(UserError, match="another task"):
        env.set_state(np.zeros(7))


def test_an_unknown_init_state_is_refused(env: LiberoEnv):
    with pytest.raises(UserError, match="numbered 0 to 49"):
        env.reset(options={"init_state": 50})


def test_nothing_is_printed_at_exit(libero_assets: Path):
    """GL contexts that outlive the interpreter's modules end in tracebacks unless they are freed in time."""
    code = "from sim import LiberoEnv\nenv = LiberoEnv('libero_object', 0, image_size=32)\nenv.reset(seed=0)\n"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


def test_fast_rendering_looks_almost_the_same(env: LiberoEnv, libero_assets: Path):
    env.restart(seed=0, init_state=0)
    fast = LiberoEnv("libero_object", 0, image_size=48, fast_render=True)
    fast.restart(seed=0, init_state=0)
    full, coarse = env.observe()["images"].astype(int), fast.observe()["images"].astype(int)
    assert 0 < np.abs(full - coarse).mean() < 6
    assert fast.model.mesh_facenum.sum() == env.model.mesh_facenum.sum()  # physics keeps the fine meshes
    fast.close()


def test_what_two_actions_differ_in_takes_a_joint_as_far_as_it_says(libero_assets: Path):
    env = LiberoEnv("libero_object", 0, assets=libero_assets)
    common, difference = np.array([0.2, -0.1, 0.1, 0.1, 0, 0.2, -1]), np.array([0.1, 0.2, -0.2, 0.1, -0.1, 0.2])
    ends = []
    for action in (common, common + np.append(difference, 0)):
        env.restart(seed=0)
        env.settle()
        env.advance(common)
        told = env.joint_step(difference)
        env.advance(action)
        ends.append(env.proprioception()[:7])
    env.close()
    assert np.rad2deg(np.abs(ends[1] - ends[0]).max()) == pytest.approx(told, rel=0.35)
    assert told > 0.1
