"""One interface for every tokenizer: opened by what the checkpoint is of, encoded and decoded alike."""

from pathlib import Path

import pytest
import torch
from torch import nn

from tokenizer.interface import Tokenizer
from tokenizer.load import load_tokenizer
from tokenizer.tracks.model import MotionTokenizer
from tokenizer.tracks.options import TokenizerConfig
from training import checkpoint
from training.checkpoint import CheckpointError


def test_a_track_tokenizer_encodes_trajectories_and_decodes_how_they_moved(tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = TokenizerConfig(num_tracks=9, img_shape=(32, 32), hidden_dim=32, num_heads=2, codebook_size=256)
    model = MotionTokenizer(config)
    checkpoint.save(
        tmp_path / "tracks.safetensors", "motion_tokenizer", {"model": config.to_dict()}, model.state_dict()
    )
    tokenizer = load_tokenizer(tmp_path / "tracks.safetensors")
    assert isinstance(tokenizer, Tokenizer)
    assert (tokenizer.codebook_size, tokenizer.latent_width) == (240, 32)
    assert (tokenizer.frame_rate, tokenizer.rate) == (20, 20)
    motion = torch.rand(3, 2, 16, 9, 2) * 2 - 1
    codes = tokenizer.encode(motion)
    assert codes.shape == (3, 15)
    again = tokenizer.decode(codes)
    start = motion[:, :, :1]
    assert again[:, :, :1].abs().max() == 0
    torch.testing.assert_close(again, model.eval().reconstruct(codes, start) - start)


def test_what_is_no_tokenizer_is_refused_by_name(tmp_path: Path) -> None:
    checkpoint.save(tmp_path / "bundle.safetensors", "bundle", {}, nn.Linear(1, 1).state_dict())
    with pytest.raises(CheckpointError, match="a bundle checkpoint, which is no tokenizer; tokenizers are motion"):
        load_tokenizer(tmp_path / "bundle.safetensors")
