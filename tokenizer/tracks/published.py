"""Published AMPLIFY tokenizers, and those of LAPS, which added to them: their configs and weights as ours."""

from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from common.errors import UserError
from tokenizer.tracks.options import LossConfig, TokenizerConfig
from training import checkpoint
from training.checkpoint import Checkpoint
from training.published_file import is_published, read_published, reading

SAME_NAME = (
    *("num_tracks", "true_horizon", "track_pred_horizon", "interp_method", "hidden_dim", "num_heads", "num_layers"),
    *("attn_pdrop", "codebook_size", "decoder_mlp_hidden_dim", "causal_encoder", "per_view", "cond_on_img"),
)
_OPTIONAL = ("z_noise_std", "decoder_pos_scale")


def tokenizer_config(c: Mapping[str, Any]) -> TokenizerConfig:
    """The published config, as far as it determines the model and its loss; UserError for what we do not have.

    Displacements are decoded by argmax, as published.
    """
    loss = c["loss"]
    if list(loss["cls_img_size"]) != list(c["img_shape"]):
        raise UserError("loss.cls_img_size differs from img_shape; such tokenizers are not supported")
    options = {name: c[name] for name in SAME_NAME} | {name: c[name] for name in _OPTIONAL if name in c}
    if c["cond_on_img"]:
        vision = c["vision_encoder"]
        if vision["model_name"] != "resnet18" or not vision["get_patches"] or vision["get_cls_and_patches"]:
            raise UserError(f"the vision encoder {vision['model_name']} is not supported; only patches of resnet18 are")
        options["vision_image_size"] = vision.get("img_size", 224)
    config = TokenizerConfig(
        **options,
        views=tuple(c["cond_cameraviews"]),
        img_shape=tuple(c["img_shape"]),
        rel_cls_img_size=tuple(loss["rel_cls_img_size"]),
        loss_weights=dict(loss["loss_weights"]),
        loss=LossConfig(**{f.name: loss[f.name] for f in fields(LossConfig) if f.name in loss}),
    )
    return _without_diagonal(config) if c["cond_on_img"] and c["causal_encoder"] == "diag" else config


def _without_diagonal(config: TokenizerConfig) -> TokenizerConfig:
    """With images the published 'diag' mask lets all see the first codes, as many as there are image tokens: that is
    all of them, the full mask, in every size that was published."""
    tokens = (config.vision_image_size // 32) ** 2 * len(config.views)
    if tokens < config.num_codes:
        raise UserError("causal_encoder='diag' with fewer image tokens than codes is not supported")
    return replace(config, causal_encoder=False)


def model_weights(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Published names -> ours; drops masks and tables that follow from the config, and the mark of compiled models."""
    return {
        name.removeprefix("_orig_mod."): tensor
        for name, tensor in weights.items()
        if not name.endswith((".attn_mask", ".inv_freq"))
    }


def read_tokenizer(path: str | Path) -> Checkpoint:
    """The checkpoint of a track tokenizer, ours or a published one (.pt), as ours.

    Raises:
        CheckpointError: it is something else.
    """
    if not is_published(path):
        return checkpoint.read(path, "motion_tokenizer")
    found, digest = read_published(path, "motion tokenizer")
    with reading(path, "motion tokenizer"):
        config = tokenizer_config(found["config"])
    info = {"source": Path(path).name}
    described = {"model": config.to_dict()}
    return Checkpoint(
        "motion_tokenizer", described, model_weights(found["model"]), info, path=Path(path), digest=digest
    )
