"""The codes of whole datasets as files."""

from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from common.errors import UserError
from demos.dataset import FrameDataset
from tests.policy.tiny import SIZE, TRACKS, make_data
from tokenizer import encode
from tokenizer.tracks.model import MotionTokenizer
from tokenizer.tracks.options import TokenizerConfig
from training import checkpoint

CONFIG = TokenizerConfig(
    num_tracks=TRACKS, img_shape=(SIZE, SIZE), hidden_dim=32, num_heads=2, codebook_size=256, decoder_mlp_hidden_dim=16
)


def save_tokenizer(path: Path, seed: int) -> MotionTokenizer:
    torch.manual_seed(seed)
    checkpoint.save(path, "motion_tokenizer", {"model": CONFIG.to_dict()}, MotionTokenizer(CONFIG).state_dict())
    return MotionTokenizer.load(path)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Demonstrations with tracks, and two tokenizers of random weights."""
    make_data(tmp_path)
    for seed, name in enumerate(("tokenizer", "other")):
        save_tokenizer(tmp_path / f"{name}.safetensors", seed)
    return tmp_path


def run(root: Path, spec: str = "[tiny:traj1]", tokenizer: str = "tokenizer") -> None:
    roots = ["--demos-root", str(root / "demos"), "--tracks-root", str(root / "tracks"), "--out", str(root / "codes")]
    encode.main([str(root / f"{tokenizer}.safetensors"), spec, *roots])


def test_every_frame_has_the_codes_of_the_motion_that_follows_it(root: Path) -> None:
    run(root)
    model = MotionTokenizer.load(root / "tokenizer.safetensors")
    frames = FrameDataset("[tiny:traj1]", root=root / "demos", tracks_root=root / "tracks", keys={"tracks"})
    assert frames.episodes
    for episode in frames.episodes:
        numbers = np.arange(episode.first_frame, episode.first_frame + episode.steps)
        expected = model.tokenize(torch.from_numpy(frames.frames_in_batch(numbers)["tracks"]))
        path = root / "codes" / "tiny" / episode.file.name.replace("_demo.hdf5", "_codes.hdf5")
        with h5py.File(path) as file:
            assert file.attrs["codebook_size"] == 240
            np.testing.assert_array_equal(file[f"data/demo_{episode.index}/codes"][:], expected)


def test_it_goes_on_where_it_stopped(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(root)
    written = sorted((root / "codes").rglob("*.hdf5"))
    kept = written[0].stat().st_mtime_ns
    for path in written[1:]:
        path.unlink()
    capsys.readouterr()
    run(root)
    assert sorted((root / "codes").rglob("*.hdf5")) == written
    assert written[0].stat().st_mtime_ns == kept
    assert "1 files were there" in capsys.readouterr().out


def test_a_file_with_fewer_episodes_is_written_again(root: Path) -> None:
    run(root, "[tiny:traj0.5]")
    path = next((root / "codes").rglob("*.hdf5"))
    with h5py.File(path) as file:
        before = len(file["data"])
    run(root)
    with h5py.File(path) as file:
        assert len(file["data"]) > before


def test_codes_of_different_tokenizers_are_not_mixed(root: Path) -> None:
    run(root)
    with pytest.raises(UserError, match=r"of the tokenizer .* choose another --out"):
        run(root, tokenizer="other")


def test_a_file_that_is_none_is_named(root: Path) -> None:
    run(root)
    path = next((root / "codes").rglob("*.hdf5"))
    path.write_bytes(b"no HDF5")
    with pytest.raises(UserError, match="no file of codes"):
        run(root)
