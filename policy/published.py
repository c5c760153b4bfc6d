"""Published AMPLIFY checkpoints of forward and inverse dynamics, and their configs, as ours.

These files hold neither the frozen vision encoder nor the tokenizer's config: the first comes from a file of pretrained
ResNet-18 weights, the second from the tokenizer's checkpoint that they are read beside.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from policy.forward_dynamics import ForwardConfig
from policy.inverse_dynamics import InverseConfig
from policy.text import TextConfig
from policy.vision import VisionConfig
from tokenizer.resnet import ResNet
from tokenizer.tracks.published import model_weights
from training.checkpoint import Checkpoint, CheckpointError
from training.published_file import read_published, reading


def vision_config(c: Mapping[str, Any]) -> VisionConfig:
    """That of either model; only the published default, patches of a ResNet-18, is supported."""
    if c["model_name"] != "resnet18" or not c["get_patches"] or c["get_cls_and_patches"] or c["patch_pooling"]:
        raise CheckpointError(f"the vision encoder {dict(c)} is not supported; only resnet18 with get_patches is")
    return VisionConfig("resnet18", c.get("img_size", 224))


def forward_config(c: Mapping[str, Any]) -> ForwardConfig:
    """Forward dynamics' published config as ours."""
    model = c["forward_dynamics"]
    if not model["text_encoder"]["use_preprocessed_embs"]:
        raise CheckpointError("its T5 text encoder is not supported; only use_preprocessed_embs=true is")
    trunk = model["transformer"]
    return ForwardConfig(
        num_layers=trunk["n_layer"],
        num_heads=trunk["n_head"],
        dropout=trunk["dropout"],
        bias=trunk["bias"],
        mask_codes=False,
        vision_encoder=vision_config(model["vision_encoder"]),
        text_encoder=TextConfig("preprocessed"),
    )


def inverse_config(c: Mapping[str, Any], action_horizon: int) -> InverseConfig:
    """Inverse dynamics' published config as ours; how many actions there are, the tokenizer's ``true_horizon`` says.

    The published loader of LIBERO ignores ``action_key`` and ``normalize_actions``: so does this.
    """
    return InverseConfig(
        type=c["type"],
        diffusion_steps=c["diffusion_steps"],
        flow_matching_steps=c["flow_matching_steps"],
        num_layers=c["num_layers"],
        num_heads=c["num_heads"],
        attn_pdrop=c["attn_pdrop"],
        action_dim=c["action_dim"],
        proprio_dim=c["proprio_dim"],
        action_horizon=action_horizon,
        std=c["std"],
        action_squash=c["action_squash"],
        action_squash_scale=c["action_squash_scale"],
        action_loss_discount=c["action_loss_discount"],
        cond_on_tracks=c["cond_on_tracks"],
        cond_on_proprio=c["cond_on_proprio"],
        cond_on_img=c["cond_on_img"],
        cond_on_text=c["cond_on_text"],
        vision_encoder=vision_config(c["vision_encoder"]),
        text_encoder=TextConfig("preprocessed"),
    )


def policy_weights(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Published names of a policy, or of a part of one, -> ours; what its heads hold twice, as a table or empty, is
    dropped."""
    return {
        name: tensor
        for name, tensor in model_weights(weights).items()
        if ".solver." not in name and not name.endswith((".pos_embed.pe", "._dummy_variable"))
    }


def forward_checkpoint(path: str | Path, tokenizer: Checkpoint, vision_weights: str | Path | None) -> Checkpoint:
    """A published forward dynamics beside the ``tokenizer`` whose codes it predicts.

    Raises:
        CheckpointError: it is none, is of another tokenizer, or ``vision_weights`` are missing.
    """
    found, digest = read_published(path, "forward dynamics")
    theirs = model_weights(found["model"]).get("quantize.project_in.weight")
    ours = tokenizer.weights["quantize.project_in.weight"]
    if theirs is None or theirs.shape != ours.shape or not torch.equal(theirs, ours):
        raise CheckpointError(f"{path} is not forward dynamics, or not of the tokenizer {tokenizer.path}")
    with reading(path, "forward dynamics"):
        config = forward_config(found["config"])
    weights = model_weights(found["model"]) | _vision(path, config.vision_encoder, vision_weights)
    return _beside(tokenizer, "forward_dynamics", config.to_dict(), weights, Path(path), digest)


def inverse_checkpoint(path: str | Path, tokenizer: Checkpoint, vision_weights: str | Path | None) -> Checkpoint:
    """A published inverse dynamics that learned from the codes of ``tokenizer``; the errors are those of
    ``forward_checkpoint``."""
    found, digest = read_published(path, "inverse dynamics")
    with reading(path, "inverse dynamics"):
        config = inverse_config(found["config"], tokenizer.config["model"]["true_horizon"])
    weights = policy_weights(found["model"])
    if config.cond_on_img:
        weights |= _vision(path, config.vision_encoder, vision_weights)
    return _beside(tokenizer, "inverse_dynamics", config.to_dict(), weights, Path(path), digest)


def _beside(
    tokenizer: Checkpoint, kind: str, model: dict[str, Any], weights: dict[str, Tensor], path: Path, digest: str
) -> Checkpoint:
    """A checkpoint as our trainers make them on top of ``tokenizer``."""
    described = {"model": model, "tokenizer": tokenizer.config["model"]}
    info = {"source": path.name, "tokenizer_digest": tokenizer.digest}
    return Checkpoint(kind, described, weights, info, path=path, digest=digest)


def _vision(path: str | Path, config: VisionConfig, weights: str | Path | None) -> dict[str, Tensor]:
    """The weights of the vision encoder under the names they have in the whole model."""
    if weights is None:
        raise CheckpointError(
            f"{path} does not hold its vision encoder; name a file with pretrained resnet18 weights (.safetensors or "
            ".pth): model.vision_encoder.weights=FILE for trainers, --vision_weights FILE for policy.bundle"
        )
    encoder = ResNet(config.image_size)
    encoder.load_pretrained(str(weights))
    return {f"vision_encoder.{name}": tensor for name, tensor in encoder.state_dict().items()}
