"""The tokenizer by itself: a file becomes a tokenizer, tracks become indices, indices become tracks."""

from pathlib import Path

import pytest
import torch

from common.errors import UserError
from tokenizer.tracks.model import MotionTokenizer, TokenizerConfig
from training import checkpoint

CONFIG = TokenizerConfig(num_tracks=9, hidden_dim=16, num_heads=2, codebook_size=64, decoder_mlp_hidden_dim=8)


@pytest.fixture
def saved(tmp_path: Path) -> tuple[MotionTokenizer, Path]:
    torch.manual_seed(0)
    model, path = MotionTokenizer(CONFIG).eval(), tmp_path / "tokenizer.safetensors"
    checkpoint.save(path, "motion_tokenizer", {"model": CONFIG.to_dict()}, model.state_dict())
    return model, path


def tracks(batch: int = 3) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    shape = (batch, 2, CONFIG.track_pred_horizon, CONFIG.num_tracks, 2)
    return (torch.rand(shape, generator=generator) - 0.5) * 0.2


def test_a_loaded_tokenizer_is_the_saved_one_and_does_not_train(saved: tuple[MotionTokenizer, Path]) -> None:
    model, path = saved
    loaded = MotionTokenizer.load(path)
    assert torch.equal(loaded.tokenize(tracks()), model.tokenize(tracks()))
    assert not loaded.training
    assert not any(parameter.requires_grad for parameter in loaded.parameters())


def test_tracks_become_indices_and_indices_tracks_that_start_where_they_are_told(
    saved: tuple[MotionTokenizer, Path],
) -> None:
    model, points = saved[0], tracks()
    indices = model.tokenize(points)
    assert indices.shape == (3, 15)
    assert indices.dtype == torch.int64
    again = model.reconstruct(indices, points[:, :, :1])
    assert again.shape == points.shape
    assert torch.equal(again[:, :, 0], points[:, :, 0])
    codes, _ = model.encode(points.diff(dim=2))
    assert torch.allclose(again, model.decode_points(codes, points[:, :, :1]), atol=1e-6)


def test_tracks_and_indices_of_another_size_are_refused(saved: tuple[MotionTokenizer, Path]) -> None:
    model, points = saved[0], tracks()
    with pytest.raises(UserError, match=r"tracks must have shape \(b, 2, 16, 9, 2\), not \(3, 2, 15, 9, 2\)"):
        model.tokenize(points[:, :, 1:])
    with pytest.raises(UserError, match=r"indices must have shape \(b, 15\)"):
        model.reconstruct(torch.zeros(3, 14, dtype=torch.long), points[:, :, :1])
    with pytest.raises(UserError, match=r"init_points must have shape \(3, 2, 1, 9, 2\)"):
        model.reconstruct(torch.zeros(3, 15, dtype=torch.long), points)
