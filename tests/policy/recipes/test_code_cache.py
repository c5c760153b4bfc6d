"""Codes of whole datasets: computed once, and again only when what they were made from changes."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from common.errors import UserError
from demos.dataset import FrameDataset
from policy.recipes.code_cache import CodeCache, check_same_episodes
from tests.policy.tiny import SIZE, TRACKS, make_data
from tokenizer.tracks.model import MotionTokenizer, TokenizerConfig
from tokenizer.tracks.motion import points_to_velocities


@pytest.fixture
def tokenizer() -> MotionTokenizer:
    torch.manual_seed(0)
    config = TokenizerConfig(num_tracks=TRACKS, img_shape=(SIZE, SIZE), hidden_dim=16, num_heads=2, codebook_size=64)
    return MotionTokenizer(config).requires_grad_(False).eval()


def frames(root: Path, key: str = "tracks") -> FrameDataset:
    return FrameDataset("[tiny:traj1]", root=root / "demos", tracks_root=root / "tracks", keys={key})


def test_codes_of_every_frame_are_kept_by_model_and_files(
    tokenizer: MotionTokenizer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_data(tmp_path, episodes=1)
    tracks, cache = frames(tmp_path), CodeCache(tmp_path / "cache", "cpu")
    codes = cache.encode(tracks, tokenizer, "a")
    assert capsys.readouterr().out.count("codes of tokenizer a") == 2  # one file a task
    points = torch.from_numpy(tracks.frames_in_batch(np.arange(len(tracks)))["tracks"])
    assert np.array_equal(codes, tokenizer.encode(points_to_velocities(points))[1])

    assert np.array_equal(cache.encode(tracks, tokenizer, "a"), codes)
    assert capsys.readouterr().out == ""
    cache.encode(tracks, tokenizer, "b")
    assert capsys.readouterr().out.count("codes of tokenizer b") == 2
    os.utime(tracks.episodes[0].tracks, (1, 1))
    cache.encode(tracks, tokenizer, "a")
    assert capsys.readouterr().out.count("codes of tokenizer a") == 1


def test_frames_without_tracks_are_counted_and_refused(tmp_path: Path) -> None:
    make_data(tmp_path)
    next((tmp_path / "tracks").rglob("demo_1.hdf5")).unlink()
    with pytest.raises(UserError, match="1 of 4 episodes have no tracks"):
        check_same_episodes(frames(tmp_path, "images"), frames(tmp_path))
