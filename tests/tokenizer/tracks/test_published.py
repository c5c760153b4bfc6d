"""Published configs and weights become ours."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from common.errors import UserError
from tests.tokenizer.golden import close, load
from tokenizer.tracks.model import MotionTokenizer
from tokenizer.tracks.options import LossConfig
from tokenizer.tracks.published import model_weights, tokenizer_config


@torch.no_grad()
def test_golden_checkpoint_decodes_as_it_does_in_the_published_policy(golden: Path) -> None:
    checkpoint, policy = load(golden, "ckpt_motion_tokenizer"), load(golden, "bundle_gaussian_io")["outputs"]
    model = MotionTokenizer(tokenizer_config(checkpoint["config"])).eval()
    # compiled models have a mark before every name
    model.load_state_dict(model_weights({f"_orig_mod.{k}": w for k, w in checkpoint["model"].items()}))
    codes = model.quantize.indices_to_codes(policy["indices"])
    assert close(codes, policy["codes"])
    assert close(model.decode(codes), policy["vel"])
    assert close(model.reconstruct(policy["indices"], policy["traj"][:, :, :1]), policy["traj"])


def test_golden_config_is_read_with_what_others_added_to_it(golden: Path) -> None:
    published = load(golden, "ckpt_motion_tokenizer")["config"]
    config = tokenizer_config(published)
    assert (config.true_horizon, config.track_pred_horizon, config.interp_method) == (10, 8, "linear")
    assert config.decode == "argmax"
    added = {"z_noise_std": 0.01, "decoder_pos_scale": 0.2}
    loss = {"use_focal": True, "focal_gamma": 4.0, "class_weight_mode": "radial", "codebook_diversity_weight": 0.3}
    found = tokenizer_config({**published, **added, "loss": {**published["loss"], **loss}})
    assert found == replace(config, **added, loss=LossConfig(**loss))  # type: ignore[arg-type]


def test_golden_config_with_images_and_a_diagonal_mask_is_what_that_mask_becomes(golden: Path) -> None:
    published = load(golden, "tokenizer_joint_condimg")["config"]
    assert tokenizer_config({**published, "causal_encoder": "diag"}).causal_encoder is False
    with pytest.raises(UserError, match="fewer image tokens than codes"):
        tokenizer_config({**published, "causal_encoder": "diag", "track_pred_horizon": 10})


def test_golden_config_of_another_vision_encoder_is_refused(golden: Path) -> None:
    published = load(golden, "tokenizer_joint_condimg")["config"]
    vision = {**published["vision_encoder"], "model_name": "vit-base"}
    with pytest.raises(UserError, match="vit-base is not supported"):
        tokenizer_config({**published, "vision_encoder": vision})
