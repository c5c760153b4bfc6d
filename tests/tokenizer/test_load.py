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


def test_the_track_tokenizer_that_comes_with_the_project_keeps_how_things_move() -> None:
    tokenizer = load_tokenizer(Path(__file__).parents[2] / "checkpoints" / "tracks.safetensors")
    along = (torch.arange(20) + 0.5) / 10 - 1
    grid = torch.stack(torch.meshgrid(along, along, indexing="ij"), -1).view(1, 1, 1, 400, 2)
    drift = torch.linspace(0, 0.2, 16).view(1, 1, 16, 1, 1) * torch.tensor([0.0, 1.0])  # the hand camera's to the right
    motion = grid + drift * torch.tensor([0.0, 1.0]).view(1, 2, 1, 1, 1)
    rebuilt = tokenizer.decode(tokenizer.encode(motion))
    truth = motion - motion[:, :, :1]
    assert (rebuilt - truth)[:, 1].square().mean() < 0.5 * truth[:, 1].square().mean()
    assert rebuilt[:, 0, -1].norm(dim=-1).mean() < 0.02
