"""Demonstrations as videos: their arm, their instruction."""

from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from common.errors import UserError
from demos.dataset import FrameDataset
from tests.demos.test_cameras import MODEL
from tests.policy.tiny import SIZE, make_data
from tests.tokenizer.multimodal.examples import image_tokenizer
from tests.tokenizer.test_encode import save_tokenizer
from tokenizer import encode_multimodal
from tokenizer.multimodal.sources import open_source
from tokenizer.multimodal.store import TokenStore


@pytest.fixture
def root(tmp_path: Path) -> Path:
    make_data(tmp_path, episodes=4, with_tracks=False)
    for path in (tmp_path / "demos" / "tiny").glob("*.hdf5"):
        with h5py.File(path, "a") as file:
            for name in file["data"]:
                if path.name != "task_1_demo.hdf5" or name != "demo_3":
                    file["data"][name].attrs["model_file"] = MODEL
    return tmp_path


def test_each_episode_is_a_video(root: Path) -> None:
    source = open_source("[tiny:traj0.5]", root / "demos")
    assert source.names() == [f"tiny/task_{task}/demo_{demo}" for task in range(2) for demo in range(2)]
    video = source.read("tiny/task_1/demo_0")
    assert video.caption == "open drawer number 1"
    assert video.points is not None
    assert video.points.shape == (20, 10, 2)
    assert np.stack(list(video.frames())).shape == (20, SIZE, SIZE, 3)


def test_demonstrations_become_tokens_and_those_without_a_camera_do_not(root: Path) -> None:
    images, out = image_tokenizer(root / "images.safetensors"), root / "tokens"
    options = ["--images", str(images), "--out", str(out), "--bins", "256", "--demos-root", str(root / "demos")]
    encode_multimodal.main(["[tiny:traj1]", *options])
    store = TokenStore.read(out)
    records = store.records()
    assert [name for name, record in records.items() if record.left_out] == ["tiny/task_1/demo_3"]
    assert "keeps no readable model" in (records["tiny/task_1/demo_3"].left_out or "")
    tokens = store.tokens("000001")
    assert np.asarray(tokens["coords"]).shape == (3, 10)
    assert np.asarray(tokens["coords"]).max() < 256
    assert tokens["captions"] == "open drawer number 0"


def test_the_codes_of_a_pair_are_of_the_motion_after_its_present_frame(tmp_path: Path) -> None:
    make_data(tmp_path, episodes=2)
    for path in (tmp_path / "demos" / "tiny").glob("*.hdf5"):
        with h5py.File(path, "a") as file:
            for name in file["data"]:
                file["data"][name].attrs["model_file"] = MODEL
    model = save_tokenizer(tmp_path / "tracks.safetensors", seed=0)
    images, out = image_tokenizer(tmp_path / "images.safetensors"), tmp_path / "tokens"
    roots = ["--demos-root", str(tmp_path / "demos"), "--tracks-root", str(tmp_path / "tracks")]
    codes = ["--codes", str(tmp_path / "tracks.safetensors")]
    encode_multimodal.main(["[tiny:traj1]", "--images", str(images), "--out", str(out), *codes, *roots])
    store = TokenStore.read(out)
    assert store.manifest()["code_ids"] == model.config.actual_codebook_size
    frames = FrameDataset("[tiny:traj1]", root=tmp_path / "demos", tracks_root=tmp_path / "tracks", keys={"tracks"})
    first = {f"tiny/{e.file.stem.removesuffix('_demo')}/demo_{e.index}": e.first_frame for e in frames.episodes}
    pairs = [(name, pair) for name, record in store.records().items() for pair in record.pairs]
    assert pairs
    for name, pair in pairs[::5]:
        tracks = frames.frames_in_batch(np.array([first[name] + pair.reference]))["tracks"]
        np.testing.assert_array_equal(store.tokens(pair.id)["codes"], model.tokenize(torch.from_numpy(tracks))[0])


def test_a_source_that_is_not_there_is_refused(root: Path) -> None:
    with pytest.raises(UserError, match="no demonstrations"):
        open_source("[other:traj1]", root / "demos")
    with pytest.raises(UserError, match="there is no folder nowhere"):
        open_source("nowhere", root)
    with pytest.raises(UserError, match="holds no videos"):
        open_source(str(root), root)
    with pytest.raises(UserError, match="chooses no demonstration"):
        open_source("[tiny:traj0.1]", root / "demos")
