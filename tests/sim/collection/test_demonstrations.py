"""Experts, exact tracks and collection, on real LIBERO."""

from dataclasses import replace
from pathlib import Path

import mujoco
import numpy as np
import pytest

from demos.hdf5 import DemoReader
from demos.phases import phase_segments
from demos.tracks import TrackReader
from sim import collect
from sim.collection.demonstrate import Disturbance, Take, play, render
from sim.collection.exact_tracks import TrackRecorder, query_pixels
from sim.collection.kept_environment import Rendering
from sim.collection.recording import CollectionSettings, record_episode, stored_seeds
from sim.libero.env import CAMERAS, LiberoEnv


@pytest.fixture(scope="module")
def env(libero_assets: Path):
    env = LiberoEnv("libero_object", 1, image_size=64, fast_render=True)
    yield env
    env.close()


@pytest.fixture(scope="module")
def take(env: LiberoEnv) -> Take:
    take = play(env, seed=0, disturbance=Disturbance())
    assert take is not None
    return take


def every_40th(take: Take) -> Take:
    """The same take with few frames to render."""
    rows = {name: getattr(take, name)[::40] for name in ("states", "actions", "executed", "phases")}
    return replace(take, **rows)


def test_the_expert_succeeds_under_disturbance_and_then_lets_go(env: LiberoEnv, take: Take):
    assert take.success_step < env.max_steps
    assert len(take.actions) > take.success_step
    assert take.actions[-1, 6] == -1  # the hand has opened
    assert np.abs(take.actions).max() <= 1


def test_a_demonstration_knows_what_the_hand_was_doing(take: Take):
    found = phase_segments(take.phases)
    assert [name for name, _ in found] == ["reach", "grasp", "carry", "retreat"]
    _, grasp, carry, retreat = (segment for _, segment in found)
    closes, opens = np.flatnonzero(np.diff(take.actions[:, 6])) + 1
    assert closes == grasp.start
    assert grasp.end == carry.start
    assert opens == retreat.start


def test_the_same_seed_gives_the_same_demonstration(env: LiberoEnv, take: Take):
    again = play(env, seed=0, disturbance=Disturbance())
    assert again is not None
    np.testing.assert_array_equal(again.states, take.states)


def test_the_low_hand_is_nudged_and_the_expert_comes_back(env: LiberoEnv):
    calm = Disturbance(start=0.0, noise=0.0, push_chance=0.0, nudge_chance=0.0)
    straight, nudged = (play(env, seed=0, disturbance=d) for d in (calm, replace(calm, nudge_chance=0.3)))
    assert straight is not None
    assert nudged is not None
    shorter = min(len(straight.states), len(nudged.states))
    first = int(np.argmax(np.any(straight.states[:shorter] != nudged.states[:shorter], axis=1)))
    env.set_state(straight.states[0])
    above = env.data.site("gripper0_grip_site").xpos[2]
    env.set_state(straight.states[first])
    assert env.data.site("gripper0_grip_site").xpos[2] < above - 0.07


def test_a_demonstration_shows_states_before_actions(env: LiberoEnv, take: Take):
    play(env, seed=0, disturbance=Disturbance())
    episode, tracks = render(env, every_40th(take), seed=0)
    assert episode.agentview_rgb.shape == (len(take.states[::40]), 64, 64, 3)
    np.testing.assert_allclose(episode.joint_states[0], take.states[0, 1:8], atol=1e-6)
    assert tracks["eye_in_hand"].points.shape == (len(episode), 16, 400, 2)


@pytest.mark.parametrize("seed", [0, 1])
def test_executed_actions_lead_to_success_again_from_the_first_state(env: LiberoEnv, seed: int):
    take = play(env, seed=seed, disturbance=Disturbance())
    assert take is not None
    assert not np.array_equal(take.executed, take.actions)
    env.restart(seed=seed)
    env.set_state(take.states[0])
    assert any(env.advance(action)[1] for action in take.executed)


def test_an_episode_keeps_its_model_and_is_rewarded_once(env: LiberoEnv, take: Take):
    play(env, seed=0, disturbance=Disturbance())
    episode, _ = render(env, every_40th(take), seed=0)
    model = mujoco.MjModel.from_xml_string(episode.attributes["model_file"])
    assert 1 + model.nq + model.nv == episode.states.shape[1]
    np.testing.assert_allclose(model.body_pos, env.model.body_pos, atol=1e-9)
    np.testing.assert_array_equal(np.flatnonzero(episode.rewards), [len(episode) - 1])
    np.testing.assert_array_equal(episode.actions_executed, take.executed[::40])


def test_the_model_of_an_episode_has_its_fixtures_where_they_were_placed(libero_assets: Path):
    env = LiberoEnv("libero_10", 8)  # two pots on a stove, which is placed afresh
    for seed in (3, 4):
        env.restart(seed=seed)
        model = mujoco.MjModel.from_xml_string(env.mjcf())
        np.testing.assert_allclose(model.body_pos, env.model.body_pos, atol=1e-9)
        np.testing.assert_allclose(model.body_quat, env.model.body_quat, atol=1e-9)
    env.close()


def test_tracks_begin_on_the_query_grid_and_still_points_stay(env: LiberoEnv):
    env.restart(seed=0, init_state=0)
    recorder = TrackRecorder(env.model, "agentview", 64, 64)
    for _ in range(3):
        _, depth = env.render_view_with_depth("agentview")
        recorder.add(env.data, depth)
        for _ in range(4):
            env.advance(np.array([0, 0, -1.0, 0, 0, 0, -1]))
    tracks = recorder.tracks(horizon=3)
    grid = np.broadcast_to(query_pixels(64, 64), (3, 400, 2))
    np.testing.assert_allclose(tracks.points[:, 0], grid, atol=1e-3)
    assert tracks.vis[:, 0].mean() > 0.9
    moved = np.linalg.norm(tracks.points[0, 2] - tracks.points[0, 0], axis=-1)
    assert 0.01 < (moved > 0.5).mean() < 0.3  # the arm moves, the scene does not


def test_a_point_on_a_moving_body_projects_to_where_the_body_is(env: LiberoEnv):
    """Moving the camera by one pixel's worth of rotation moves all points alike: check against mj's own projection."""
    env.restart(seed=0, init_state=0)
    recorder = TrackRecorder(env.model, CAMERAS["eye_in_hand"], 64, 64)
    hand = env.model.body("gripper0_leftfinger").id
    positions = []
    for fingers in (-1.0, 1.0):
        for _ in range(6):
            env.advance(np.array([0, 0, 0, 0, 0, 0, fingers]))
        _, depth = env.render_view_with_depth("eye_in_hand")
        recorder.add(env.data, depth)
        positions.append(env.data.xpos[hand].copy())
    on_finger = recorder._frames[0].bodies == hand
    assert on_finger.any()
    shift = recorder.tracks(horizon=2).points[0, 1, on_finger] - recorder.tracks(horizon=2).points[0, 0, on_finger]
    assert np.linalg.norm(positions[1] - positions[0]) > 0.005
    assert (np.abs(shift[:, 0]) > 1.0).all()  # fingers close along the image's horizontal


def test_collection_writes_demonstrations_with_tracks_and_goes_on_where_it_stopped(
    tmp_path: Path, libero_assets: Path, capsys: pytest.CaptureFixture
):
    command = ["--suite", "libero_object", "--tasks", "1", "--workers", "1", "--image-size", "32", "--fast-render"]
    command += ["--out", str(tmp_path), "--assets", str(libero_assets)]
    assert collect.main([*command, "--episodes", "1"]) == 0
    assert collect.main([*command, "--episodes", "2"]) == 0
    assert "1 demonstrations in" in capsys.readouterr().out
    (file,) = (tmp_path / "demos" / "libero_object").glob("*_demo.hdf5")
    with DemoReader(file) as reader:
        assert len(reader) == 2
        seeds = {int(reader[i].attributes["seed"]) for i in range(2)}
        assert len(seeds) == 2
        assert reader.language == "pick up the cream cheese and place it in the basket"
        for index in range(2):
            folder = tmp_path / "tracks" / "libero_object" / "uniform_400_reinit_16" / file.stem
            with TrackReader(folder / f"demo_{index}.hdf5") as tracks:
                assert tracks.shape[0] == reader.steps(index)
    settings = CollectionSettings(tmp_path, Rendering(str(libero_assets), 32, True), noise=0.08, pushes=True)
    again = record_episode(settings, "libero_object", 1, min(seeds))  # as a second collection on the folder would
    assert again.success
    assert sorted(stored_seeds(file)) == sorted(seeds)
