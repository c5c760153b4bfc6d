"""Training samples: the right frame, the right future, from any file layout, equal to the published loader's."""

import multiprocessing
import pickle
from pathlib import Path

import h5py
import numpy as np
import pytest

from common.errors import UserError
from demos.dataset import FrameDataset
from demos.hdf5 import DemoFileError, DemoHeader, DemoWriter
from demos.origin import Origin
from demos.tracks import TrackFileError, TrackWriter, track_folder
from tests.demos.examples import make_episode, make_tracks

STEPS = (20, 5, 3, 18)
"""The episodes of each task in the example data."""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two tasks of libero_10 with four episodes each; the last episode of the second has no tracks."""
    for number, task in enumerate(("close", "open")):
        writer = DemoWriter(
            tmp_path / "libero_10" / f"{task}_demo.hdf5", DemoHeader(f"{task} it", "problem", f"{task}.bddl", {})
        )
        tracks = TrackWriter(track_folder(tmp_path / "tracks", "libero_10", writer.path))
        for index, steps in enumerate(STEPS):
            seed = 10 * number + index
            writer.append(make_episode(steps, seed))
            if seed != 13:
                tracks.write(index, make_tracks(steps, seed=seed), image_size=(8, 6))
        writer.finish()
    return tmp_path


def dataset(data: Path, spec: str = "[libero_10:traj1:action1]", **options) -> FrameDataset:
    return FrameDataset(spec, root=data, tracks_root=data / "tracks", **options)


def test_a_batch_holds_frames_and_their_future(data: Path) -> None:
    frames = dataset(data, keys={"images", "proprio", "actions", "text"})
    assert len(frames) == 2 * sum(STEPS)
    assert frames.texts == ["close it", "open it"]
    indices = np.array([sum(STEPS) + 20 + 3, 0, 4])  # step 3 of "open" episode 1, steps 0 and 4 of "close" episode 0
    assert frames.episode_of(indices).tolist() == [5, 0, 0]
    assert frames.text_ids(indices).tolist() == [1, 0, 0]
    batch = frames.frames_in_batch(indices)

    episode = make_episode(5, 11)
    assert batch["images"].shape == (3, 2, 8, 6, 3)
    np.testing.assert_array_equal(batch["images"][0], [episode.agentview_rgb[3], episode.eye_in_hand_rgb[3]])
    np.testing.assert_array_equal(batch["proprio"][0], episode.proprio[3])
    assert batch["action_mask"].sum(axis=1).tolist() == [2, 16, 16]
    np.testing.assert_array_equal(batch["actions"][0, :2], episode.actions[3:].astype(np.float32))
    assert not batch["actions"][0, 2:].any()
    np.testing.assert_array_equal(batch["actions"][2], make_episode(20, 0).actions[4:20].astype(np.float32))
    assert batch["actions"].dtype == batch["proprio"].dtype == np.float32
    assert batch["text_ids"].tolist() == [1, 0, 0]


def test_actions_may_be_the_joint_angles_that_follow(data: Path) -> None:
    commands, joints = (dataset(data, action_key=key) for key in ("actions", "joint_states"))
    assert joints.actions.shape == (len(joints), 8)
    assert np.array_equal(joints.actions[:, -1], commands.actions[:, -1])
    last = np.append(
        joints.episode_of(np.arange(1, len(joints))) != joints.episode_of(np.arange(len(joints) - 1)), True
    )
    assert np.array_equal(joints.actions[:-1, :7][~last[:-1]], joints.proprio[1:, :7][~last[:-1]])
    assert np.array_equal(joints.actions[last, :7], joints.proprio[last, :7])


def test_the_origin_names_instructions_and_assets_of_the_chosen_episodes(data: Path) -> None:
    assert dataset(data, keys={"actions"}).origin == Origin(("close it", "open it"), None)
    header = DemoHeader("wipe it", "problem", "wipe.bddl", {"assets_digest": "9a1f"})
    writer = DemoWriter(data / "libero_goal" / "wipe_demo.hdf5", header)
    writer.append(make_episode(3))
    writer.finish()
    assert dataset(data, "[libero_goal:action1]", keys={"actions"}).origin == Origin(("wipe it",), ("9a1f",))


def test_the_share_is_taken_of_each_file_and_by_mode(data: Path) -> None:
    spec = "[libero_10:traj0.5:action-0.25]"
    assert [e.steps for e in dataset(data, spec, keys={"images"}).episodes] == [20, 5, 20, 5]
    assert [e.steps for e in dataset(data, spec, keys={"actions"}).episodes] == [18, 18]
    assert [e.index for e in dataset(data, spec, keys={"actions"}, mode="traj").episodes] == [0, 1, 0, 1]


def test_tracks_are_row_column_in_the_unit_square(data: Path) -> None:
    frames = dataset(data, keys={"tracks"})
    batch = frames.frames_in_batch(np.array([7]))
    tracks = make_tracks(20, seed=0)["eye_in_hand"]
    pixels = tracks.points[7][..., ::-1]
    expected = np.clip((pixels - [4, 3]) / [4, 3], -1, 1)
    assert batch["tracks"].shape == (1, 2, 16, 9, 2)
    np.testing.assert_allclose(batch["tracks"][0, 1], expected, atol=1e-6)
    np.testing.assert_array_equal(batch["vis"][0, 1], tracks.vis[7])
    assert batch["tracks"].dtype == batch["vis"].dtype == np.float32


def test_episodes_without_tracks_are_counted_or_refused(data: Path) -> None:
    frames = dataset(data)
    assert (len(frames.episodes), frames.episodes_without_tracks) == (7, 1)
    assert len(dataset(data, keys={"images"}).episodes) == 8
    with pytest.raises(TrackFileError, match=r"no tracks at .*open_demo/demo_3\.hdf5"):
        dataset(data, episodes_with_tracks_only=False)


def test_compressed_files_give_the_same_batch(data: Path) -> None:
    indices = np.arange(0, 2 * sum(STEPS), 7)
    plain = dataset(data, keys={"images"}).frames_in_batch(indices)
    for path in (data / "libero_10").iterdir():
        with h5py.File(path, "a") as file:
            for demo in file["data"].values():
                for view in ("agentview_rgb", "eye_in_hand_rgb"):
                    values = demo[f"obs/{view}"][:]
                    del demo[f"obs/{view}"]
                    demo["obs"].create_dataset(view, data=values, compression="gzip")
    np.testing.assert_array_equal(dataset(data, keys={"images"}).frames_in_batch(indices)["images"], plain["images"])


def read_in_child(frames: FrameDataset, indices: np.ndarray, queue) -> None:
    queue.put(frames.frames_in_batch(indices))


def test_a_forked_or_unpickled_dataset_reads_the_same(data: Path) -> None:
    frames = dataset(data)
    indices = np.array([3, 60, 22])
    batch = frames.frames_in_batch(indices)
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    child = context.Process(target=read_in_child, args=(frames, indices, queue))
    child.start()
    from_child = queue.get()
    child.join()
    unpickled = pickle.loads(pickle.dumps(frames)).frames_in_batch(indices)
    for key, values in batch.items():
        np.testing.assert_array_equal(from_child[key], values)
        np.testing.assert_array_equal(unpickled[key], values)


def test_what_cannot_be_read_is_named(data: Path) -> None:
    with pytest.raises(DemoFileError, match=r"no demonstrations .* in .*libero_goal"):
        dataset(data, "[libero_goal:traj1]", keys={"images"})
    with pytest.raises(UserError, match=r"choose no episode .* for 'action'"):
        dataset(data, "[libero_10:traj1]")
    with pytest.raises(ValueError, match="keys"):
        dataset(data, keys={"depth"})
    TrackWriter(track_folder(data / "tracks", "libero_10", "close_demo.hdf5")).write(0, make_tracks(4), (8, 6))
    with pytest.raises(TrackFileError, match=r"4 frames, but the episode .* has 20"):
        dataset(data).frames_in_batch(np.array([0]))


def test_views_of_different_size_are_refused(data: Path) -> None:
    writer = DemoWriter(data / "libero_goal" / "push_demo.hdf5", DemoHeader("push", "problem", "push.bddl", {}))
    writer.append(make_episode(size=(16, 16)))
    writer.finish()
    with pytest.raises(DemoFileError, match=r"push_demo.*\(8 x 6, 16 x 16\)"):
        dataset(data, "[libero_10:traj1, libero_goal:traj1]", keys={"images"})


@pytest.mark.parametrize(
    ("case", "action_horizon"), [("default", 16), ("horizon10_linear8", 10), ("horizon16_spline8", 16)]
)
def test_samples_agree_with_golden(tmp_path: Path, golden: Path, case: str, action_horizon: int) -> None:
    torch = pytest.importorskip("torch")
    loader = torch.load(golden / "loader.pt", weights_only=True)
    raw, kwargs = loader["raw_demo_0"], loader["cases"][case]["kwargs"]
    (tmp_path / "libero_10").mkdir()
    with h5py.File(tmp_path / "libero_10" / "put_the_bowl_demo.hdf5", "w") as file:
        for key, values in raw.items():
            file[f"data/demo_0/{key if key == 'actions' else f'obs/{key}'}"] = values.numpy()
    tracks = track_folder(tmp_path, "libero_10", "put_the_bowl_demo.hdf5") / "demo_0.hdf5"
    tracks.parent.mkdir(parents=True)
    with h5py.File(tracks, "w") as file:
        for view, arrays in loader["tracks_demo_0"].items():
            for key, values in arrays.items():
                file[f"root/{view}/{key}"] = values.numpy()

    frames = FrameDataset(
        "libero_10:action1.0",
        root=tmp_path,
        tracks_root=tmp_path,
        track_horizon=kwargs.get("track_pred_horizon"),
        action_horizon=action_horizon,
        interpolation=kwargs.get("interp_method", "linear"),
    )
    samples = loader["cases"][case]["samples"]
    samples = samples.values() if isinstance(samples, dict) else samples
    for sample in samples:
        expected = {key: value for key, value in sample["out"].items() if isinstance(value, torch.Tensor)}
        batch = frames.frames_in_batch(np.array([sample["idx_dict"]["start_t"]]))
        np.testing.assert_allclose(batch["images"][0] / np.float32(255), expected["images"].numpy(), atol=1e-6)
        np.testing.assert_array_equal(batch["actions"][0], expected["actions"].numpy())
        np.testing.assert_array_equal(batch["proprio"][0], expected["proprioception"].numpy())
        np.testing.assert_allclose(batch["tracks"][0], expected["traj"].numpy(), atol=1e-6)
        if "vis" in expected:
            np.testing.assert_allclose(batch["vis"][0], expected["vis"].numpy()[..., 0], atol=1e-6)
        assert frames.texts == [sample["out"]["text"]]


def test_tracks_that_end_too_soon_are_refused(data: Path) -> None:
    with pytest.raises(TrackFileError, match="follows points for 16 frames, but 20 are asked for"):
        dataset(data, keys={"tracks"}, action_horizon=20).frames_in_batch(np.array([0]))
