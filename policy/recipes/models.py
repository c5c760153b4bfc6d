"""The trained models that a recipe builds on: a tokenizer, forward dynamics, pretrained vision weights."""

from pathlib import Path
from typing import Any

from torch import nn

from common.errors import UserError
from policy.forward_dynamics import ForwardConfig, ForwardDynamics
from policy.published import forward_checkpoint, inverse_checkpoint
from policy.text import T5Text, TextConfig, TextEncoder
from policy.vision import SmallEncoder, VisionConfig, VisionEncoder
from tokenizer.fsq import FSQ
from tokenizer.tracks.model import MotionTokenizer, TokenizerConfig
from tokenizer.tracks.published import read_tokenizer
from training import checkpoint
from training.checkpoint import Checkpoint
from training.published_file import is_published
from training.typed_config import from_mapping


def load_tokenizer(path: str) -> tuple[MotionTokenizer, Checkpoint]:
    """A trained tokenizer, frozen, and the checkpoint it came from."""
    return MotionTokenizer.load(path), read_tokenizer(path)


def read_forward(path: str | Path, tokenizer: Checkpoint, vision_weights: str | Path | None) -> Checkpoint:
    """The checkpoint of forward dynamics, ours or a published one (.pt), which needs ``vision_weights``, as ours."""
    if is_published(path):
        return forward_checkpoint(path, tokenizer, vision_weights)
    return checkpoint.read(path, "forward_dynamics")


def read_inverse(path: str | Path, tokenizer: Checkpoint, vision_weights: str | Path | None) -> Checkpoint:
    """The same of inverse dynamics."""
    if is_published(path):
        return inverse_checkpoint(path, tokenizer, vision_weights)
    return checkpoint.read(path, "inverse_dynamics")


def load_forward(
    path: str, tokenizer: Checkpoint, vision_weights: str | None = None
) -> tuple[ForwardDynamics, Checkpoint]:
    """Trained forward dynamics, frozen, and the checkpoint it came from; refused unless it predicts the codes of
    this ``tokenizer``."""
    found = read_forward(path, tokenizer, vision_weights)
    config = from_mapping(TokenizerConfig, found.config["tokenizer"], path)
    quantize = FSQ(config.hidden_dim, config.codebook_size)
    model = ForwardDynamics(from_mapping(ForwardConfig, found.config["model"], path), config, quantize)
    checkpoint.load_weights(model, found)
    if found.info["tokenizer_digest"] != tokenizer.digest:
        raise UserError(
            f"{found.path} was trained with another tokenizer than {tokenizer.path}; use the one it was trained with"
        )
    return model.requires_grad_(False).eval(), found


def load_pretrained_vision(encoder: VisionEncoder | None, config: VisionConfig) -> None:
    """Gives an encoder that is pretrained its weights; the small one starts from random ones."""
    if encoder is not None and not isinstance(encoder, SmallEncoder):
        encoder.load_pretrained(config.pretrained_weights)


def load_pretrained_text(encoder: TextEncoder | None, config: TextConfig) -> None:
    """The same for text."""
    if isinstance(encoder, T5Text):
        encoder.t5.load_pretrained(config.weights)


def parameter_groups(model: nn.Module, vision: VisionConfig, weight_decay: float) -> list[dict[str, Any]]:
    """The weights of ``model`` that train, as ``Recipe.parameter_groups``: a vision encoder that ``vision`` gives a
    learning rate of its own is a group of its own."""
    groups: dict[float, list[nn.Parameter]] = {1.0: []}  # the first one's rate is what training tells of
    for name, weight in model.named_parameters():
        if weight.requires_grad:
            multiplier = vision.lr_multiplier if "vision_encoder." in name else 1.0
            groups.setdefault(multiplier, []).append(weight)
    return [
        {"params": weights, "weight_decay": weight_decay, "lr_multiplier": multiplier}
        for multiplier, weights in groups.items()
    ]
