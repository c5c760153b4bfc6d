"""Published command lines are understood: the model's settings need no prefix, and some have other names."""

from pathlib import Path

import pytest

from common.errors import UserError
from tokenizer.tracks.recipe import TokenizerRecipe, TokenizerTraining
from training.hydra_config import parse

RUN = ["run_name=x", "train_datasets=[libero_10:traj0.9]", "val_datasets=[libero_10:traj-0.1]"]


def read(*overrides: str) -> TokenizerTraining:
    files = TokenizerRecipe.config_files
    config = parse(TokenizerTraining, files, [*RUN, *overrides], command="train", about="")
    assert config is not None
    return config


def test_settings_of_the_model_need_no_prefix() -> None:
    config = read(
        *("num_tracks=100", "img_shape=[128,64]", "codebook_size=1024", "track_pred_horizon=12", "true_horizon=8"),
        *("interp_method=spline", "per_view=true", "causal_encoder=diag", "z_noise_std=0.01", "cond_on_img=false"),
        "model.hidden_dim=64",
    )
    model = config.model
    assert (model.num_tracks, model.img_shape, model.codebook_size, model.hidden_dim) == (100, (128, 64), 1024, 64)
    assert (model.track_pred_horizon, model.true_horizon, model.interp_method) == (12, 8, "spline")
    assert (model.per_view, model.causal_encoder, model.z_noise_std) == (True, "diag", 0.01)


def test_published_names_are_understood() -> None:
    model = read(
        *("cond_cameraviews=[agentview]", "loss.rel_cls_img_size=[9,9]", "loss.loss_weights.agentview=0.8"),
        *("loss.use_focal=true", "loss.focal_gamma=4", "loss.class_weight_mode=radial"),
    ).model
    assert (model.views, model.rel_cls_img_size, model.loss_weights["agentview"]) == (("agentview",), (9, 9), 0.8)
    assert (model.loss.use_focal, model.loss.focal_gamma, model.loss.class_weight_mode) == (True, 4.0, "radial")


def test_settings_of_training_keep_their_names() -> None:
    config = read("batch_size=8", "amp=false", "compile=true", "lr_schedule=cosine", "save_interval=25", "resume=true")
    assert (config.batch_size, config.compile, config.lr_schedule) == (8, True, "cosine")
    assert (config.save_interval, config.resume) == (25, True)
    assert config.effective_precision == "32-true"


def test_what_is_no_setting_at_all_is_named() -> None:
    with pytest.raises(UserError, match="Could not override 'num_trakcs'"):
        read("num_trakcs=4")


def test_a_size_without_codes_is_refused_when_the_command_line_is_read() -> None:
    with pytest.raises(UserError, match="2000 has no level table; use one of 16, 64"):
        read("codebook_size=2000")


def test_every_config_file_is_one_that_can_be_trained(tmp_path: Path) -> None:
    files = TokenizerRecipe.config_files
    for path in files.folder.glob("*.yaml"):
        assert parse(TokenizerTraining, files, ["--config-name", path.stem, *RUN], command="train", about="")
