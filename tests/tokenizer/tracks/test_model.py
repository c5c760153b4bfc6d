"""The tokenizer by itself: a file becomes a tokenizer, tracks become indices, indices become tracks."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from common.errors import UserError
from tokenizer.tracks.chosen_tracks import ChosenTracks
from tokenizer.tracks.model import MotionTokenizer
from tokenizer.tracks.options import LossConfig, TokenizerConfig
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


def make(seed: int = 0, **options: Any) -> MotionTokenizer:
    torch.manual_seed(seed)
    return MotionTokenizer(replace(CONFIG, **options)).eval()


def influence(model: MotionTokenizer) -> torch.Tensor:
    """(codes, steps) whether the features of a code change with the velocities of a step, in view 0."""
    velocities = tracks(1).diff(dim=2).requires_grad_()
    rows = []
    for code in range(model.config.num_codes):
        (gradient,) = torch.autograd.grad(model.features(velocities)[0, code].square().sum(), velocities)
        rows.append(gradient[0, 0].abs().sum((1, 2)) > 0)
    return torch.stack(rows)


def test_what_a_code_sees_is_what_the_mask_says() -> None:
    steps = CONFIG.num_velocities
    assert torch.equal(influence(make(causal_encoder=True)), torch.ones(steps, steps).tril().bool())
    assert influence(make(causal_encoder=False)).all()
    assert torch.equal(influence(make(causal_encoder="diag")), torch.eye(steps).bool())


def test_views_apart_have_codes_of_their_own() -> None:
    model, points = make(per_view=True, causal_encoder="diag"), tracks()
    indices = model.tokenize(points)
    assert indices.shape == (3, 30)
    still = points.clone()
    still[:, 1] = still[:, 1, :1]
    assert torch.equal(model.tokenize(still)[:, :15], indices[:, :15])
    assert model.reconstruct(indices, points[:, :, :1]).shape == points.shape


@pytest.mark.parametrize("per_view", [False, True])
@pytest.mark.parametrize("cls", [False, True])
def test_an_encoder_that_sees_images_makes_other_codes_of_other_images(per_view: bool, cls: bool) -> None:
    model = make(
        cond_on_img=True,
        cond_cls=cls,
        per_view=per_view,
        causal_encoder="diag",
        vision_image_size=64,
        codebook_size=4096,
    )
    points = tracks()
    images = torch.rand(3, 2, 64, 64, 3)
    z = model.features(points.diff(dim=2), images)
    assert not torch.allclose(z, model.features(points.diff(dim=2), torch.rand(3, 2, 64, 64, 3)))
    assert model.tokenize(points, images).shape == (3, model.config.num_codes)
    assert not any(parameter.requires_grad for parameter in model.vis_enc.parameters())
    with pytest.raises(UserError, match="give it those the tracks start at"):
        model.tokenize(points)


def test_the_class_token_is_one_token_more_a_view() -> None:
    seen: dict[bool, torch.Size] = {}
    for cls in (False, True):
        model = make(cond_on_img=True, cond_cls=cls, per_view=True, vision_image_size=64)
        model.encoder.cond_proj.register_forward_hook(
            lambda module, inputs, output, cls=cls: seen.update({cls: inputs[0].shape})
        )
        model.features(tracks(1).diff(dim=2), torch.rand(1, 2, 64, 64, 3))
    assert seen == {False: (1, 2 * 4, 512), True: (1, 2 * 5, 512)}


def test_decoding_is_chosen_by_name_and_for_each_use() -> None:
    model = make(decode="expectation")
    codes, _ = model.encode(tracks().diff(dim=2))
    mean, likeliest = model.decode(codes), model.decode(codes, "argmax")
    assert torch.equal(make(decode="argmax").decode(codes), likeliest)
    pixels = likeliest * 64
    assert torch.equal(pixels, pixels.round())
    assert not torch.equal(mean * 64, (mean * 64).round())


def test_zero_means_zero() -> None:
    model = make(decoder_pos_scale=0.0)
    logits = model.decoder(model.encode(tracks().diff(dim=2))[0])
    assert torch.allclose(logits, logits[:, :1, :, :1].expand_as(logits), atol=1e-6)
    loss = make(loss=LossConfig(use_focal=True, focal_gamma=0, focal_alpha=1))(tracks()).loss
    assert torch.allclose(loss, make()(tracks()).loss)
    weighted = LossConfig(class_weight_mode="radial", class_weight_strength=0)
    assert torch.allclose(make(loss=weighted)(tracks()).loss, make()(tracks()).loss)


def test_the_loss_of_paths_comes_on_top_by_how_far_points_end_up_from_the_truth() -> None:
    model, points = make(loss=LossConfig(path_weight=0.5)), tracks()
    decoded = model.decode_points(model.encode(points.diff(dim=2))[0], points[:, :, :1], "expectation")
    pixels = (decoded - points)[:, :, 1:] * 64
    cost = ((1 + pixels.square()).sqrt() - 1).sum(-1).mean((0, 2, 3))
    expected = make()(points).loss + 0.5 * (0.9 * cost[0] + 0.1 * cost[1])
    assert torch.allclose(model(points).loss, expected, rtol=1e-4)


def test_diversity_has_a_gradient_unless_it_is_only_counted() -> None:
    gradients = {}
    for diversity in ("soft", "count"):
        option = LossConfig(codebook_diversity_weight=1.0, codebook_diversity=diversity)  # type: ignore[arg-type]
        model = make(loss=option)
        result = model(tracks())
        assert torch.allclose(result.loss, make()(tracks()).loss + result.terms["codebook_diversity_loss"])
        (gradients[diversity],) = torch.autograd.grad(result.loss, model.quantize.project_in.weight)
    plain = make()
    (without,) = torch.autograd.grad(plain(tracks()).loss, plain.quantize.project_in.weight)
    assert torch.allclose(gradients["count"], without)
    assert not torch.allclose(gradients["soft"], without, rtol=0.01)


def test_views_count_by_their_weights() -> None:
    both = [make(loss_weights={"agentview": a, "eye_in_hand": b})(tracks()).loss for a, b in ((1, 0), (0, 1))]
    mixed = make(loss_weights={"agentview": 0.9, "eye_in_hand": 0.1})(tracks()).loss
    assert torch.allclose(mixed, 0.9 * both[0] + 0.1 * both[1])


def test_scaled_motion_is_encoded_as_motion_that_is_so_much_larger() -> None:
    larger = tracks() * torch.tensor([5.0, 1.0]).view(1, 2, 1, 1, 1)
    scaled = make(motion_scales={"agentview": 5.0})
    assert torch.equal(scaled.tokenize(tracks()), make().tokenize(larger))
    assert not torch.equal(scaled.tokenize(tracks()), make().tokenize(tracks()))


def test_all_tracks_chosen_are_the_whole_loss() -> None:
    model, points = make(), tracks()
    order = torch.stack([torch.randperm(CONFIG.num_tracks) for _ in range(6)]).view(3, 2, -1)
    assert torch.allclose(model(points, ChosenTracks(order, None)).loss, model(points).loss)
    doubled = ChosenTracks(order, torch.full(order.shape, 2.0))
    assert torch.allclose(model(points, doubled).loss, 2 * model(points).loss)
