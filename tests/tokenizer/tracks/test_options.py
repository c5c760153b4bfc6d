"""Options are checked when they are read, and say what they mean."""

from typing import Any

import pytest

from common.errors import UserError
from tokenizer.tracks.options import LossConfig, TokenizerConfig


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"codebook_size": 2000}, "2000 has no level table; use one of 16, 64, 256, 512, 1024, 2048, 4096"),
        ({"codebook_size": 128}, "128 has no level table"),
        ({"causal_encoder": "diagonal"}, "use true, false or diag"),
        ({"decode": "mean"}, "use argmax or expectation"),
        ({"views": ()}, "one or more"),
        ({"views": ("front",)}, "no entry for the view 'front'"),
        ({"loss_weights": {"agentview": 1.0, "eye_in_hand": -1.0}}, "negative"),
        ({"motion_scales": {"agentview": 0.0}}, "must be above 0"),
        ({"hidden_dim": 30}, "cannot be divided among 8 heads"),
        ({"track_pred_horizon": 1}, "at least 2 points"),
        ({"true_horizon": 1}, "at least 2 points"),
        ({"rel_cls_img_size": (14, 15)}, "must be odd"),
        ({"attn_pdrop": 1.0}, "less than 1"),
        ({"z_noise_std": -0.1}, "must not be negative"),
        ({"decoder_pos_scale": -1.0}, "must not be negative"),
        ({"cond_cls": True}, "needs cond_on_img=true"),
        ({"cond_on_img": True, "vision_image_size": 16}, "smallest image that gives a token is 32"),
        ({"num_tracks": 0}, "at least 1"),
    ],
)
def test_what_makes_no_sense_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        TokenizerConfig(**options)


@pytest.mark.parametrize(
    "name", ["focal_gamma", "focal_alpha", "class_weight_strength", "path_weight", "codebook_diversity_weight"]
)
def test_what_makes_no_sense_in_the_loss_is_refused(name: str) -> None:
    with pytest.raises(UserError, match=f"{name} is -1.*must not be negative"):
        LossConfig(**{name: -1.0})


def test_the_real_number_of_codes_is_known() -> None:
    sizes = {16: 15, 64: 64, 256: 240, 512: 512, 1024: 1000, 2048: 1920, 4096: 4375}
    assert {size: TokenizerConfig(codebook_size=size).actual_codebook_size for size in sizes} == sizes


def test_views_apart_make_codes_for_each_view() -> None:
    assert TokenizerConfig(track_pred_horizon=8).num_codes == 7
    assert TokenizerConfig(track_pred_horizon=8, per_view=True).num_codes == 14
