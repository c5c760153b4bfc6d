"""One simulation, several worlds: stored demonstrations rendered in the pack and with varied looks."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from common.errors import UserError
from demos.hdf5 import DemoReader
from demos.tracks import TrackReader
from sim import collect, render
from sim.collection.looks import Variation, varied
from sim.libero.env import LiberoEnv

OLD_PHASES = "still,approach,close fingers,bring,turn,open,close,push,leave"
"""What phases may have been called when a demonstration was made."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, libero_assets: Path) -> Path:
    """A demonstration of a task whose fixture is placed afresh in every episode."""
    folder = tmp_path_factory.mktemp("data")
    command = ["--suite", "libero_goal", "--tasks", "7", "--workers", "1", "--image-size", "32", "--fast-render"]
    assert collect.main([*command, "--episodes", "1", "--out", str(folder), "--assets", str(libero_assets)]) == 0
    (source,) = (folder / "demos" / "libero_goal").glob("*.hdf5")
    with h5py.File(source, "a") as file:
        shorten(file["data/demo_0"], steps=20)
        file["data/demo_0"].attrs["phase_names"] = OLD_PHASES
    return folder


def shorten(demonstration: h5py.Group, steps: int) -> None:
    """Leaves its first ``steps``: rendering takes most of the time."""
    datasets: list[str] = []
    demonstration.visititems(lambda name, item: datasets.append(name) if isinstance(item, h5py.Dataset) else None)
    for name in datasets:
        rows = demonstration[name][:steps]
        del demonstration[name]
        demonstration[name] = rows
    demonstration.attrs["num_samples"] = steps


def rendered(data: Path, name: str, *options: str) -> DemoReader:
    command = ["--suite", "libero_goal", "--source", str(data), "--dataset", name]
    render.main([*command, "--workers", "1", "--image-size", "32", "--fast-render", *options])
    (file,) = (data / "demos" / name).glob("*.hdf5")
    return DemoReader(file)


def test_a_demonstration_is_seen_in_the_pack_with_the_same_states_and_actions(data: Path):
    (source,) = (data / "demos" / "libero_goal").glob("*.hdf5")
    with DemoReader(source) as before, rendered(data, "pack", "--assets", "pack") as after:
        assert after.names == before.names
        assert after.attributes["env_args"] != before.attributes["env_args"]  # which assets, among others
        for one, other in zip(before, after, strict=True):
            for name in ("actions", "actions_executed", "states", "ee_pos", "phases"):
                np.testing.assert_allclose(getattr(one, name), getattr(other, name), atol=1e-9, err_msg=name)
            assert one.agentview_rgb.shape == other.agentview_rgb.shape
            assert np.abs(one.agentview_rgb.astype(int) - other.agentview_rgb).mean() > 3
        assert after.attributes_of(0)["phase_names"] == OLD_PHASES
        folder = data / "tracks" / "pack" / "uniform_400_reinit_16" / source.stem
        with TrackReader(folder / "demo_0.hdf5") as tracks:
            assert tracks.shape[0] == after.steps(0)


def test_rendering_the_same_world_again_gives_the_same_images(data: Path, libero_assets: Path):
    """So fixtures stand where the episode had them, although nothing but the file was known."""
    (source,) = (data / "demos" / "libero_goal").glob("*.hdf5")
    with DemoReader(source) as before, rendered(data, "again", "--assets", str(libero_assets)) as after:
        for one, other in zip(before, after, strict=True):
            np.testing.assert_array_equal(one.eye_in_hand_rgb, other.eye_in_hand_rgb)


def test_what_is_there_is_not_rendered_again(data: Path, capsys: pytest.CaptureFixture):
    rendered(data, "twice", "--assets", "pack").close()
    rendered(data, "twice", "--assets", "pack").close()
    out = capsys.readouterr().out
    assert "1 demonstration rendered" in out
    assert "0 demonstrations rendered" in out


def test_looks_vary_from_episode_to_episode_and_leave_the_model_as_it_was(libero_assets: Path):
    env = LiberoEnv("libero_object", 0, image_size=32, fast_render=True)
    env.restart(seed=0, init_state=0)
    plain, images = env.render_view("agentview"), []
    for seed in range(2):
        with varied(env.model, np.random.default_rng(seed), Variation()):
            env.set_state(env.state())
            images.append(env.render_view("agentview"))
    env.set_state(env.state())
    np.testing.assert_array_equal(env.render_view("agentview"), plain)
    assert np.abs(images[0].astype(int) - plain).mean() > 2
    assert np.abs(images[0].astype(int) - images[1]).mean() > 2
    env.close()


def test_demonstrations_that_keep_no_model_are_refused(data: Path, tmp_path: Path):
    (source,) = (data / "demos" / "libero_goal").glob("*.hdf5")
    copy = tmp_path / "demos" / "libero_goal" / source.name
    copy.parent.mkdir(parents=True)
    copy.write_bytes(source.read_bytes())
    with h5py.File(copy, "a") as file:
        del file["data/demo_0"].attrs["model_file"]
    with pytest.raises(UserError, match="keeps no model_file"):
        rendered(tmp_path, "pack", "--assets", "pack")


def test_the_source_is_not_overwritten(data: Path):
    with pytest.raises(UserError, match="is the source itself"):
        render.main(["--suite", "libero_goal", "--source", str(data), "--dataset", "libero_goal"])
