"""The trained models that a recipe builds on: a tokenizer, forward dynamics, pretrained vision weights."""

from pathlib import Path

from torch import nn

from common.errors import UserError
from policy.forward_dynamics import ForwardConfig, ForwardDynamics
from policy.published import forward_checkpoint, inverse_checkpoint
from policy.vision import VisionConfig
from tokenizer.fsq import FSQ
from tokenizer.resnet import ResNet18
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


def load_pretrained_vision(encoder: nn.Module, config: VisionConfig) -> None:
    """Gives a frozen encoder its weights; one that trains starts from random ones."""
    if not isinstance(encoder, ResNet18):
        return
    if config.weights is None:
        raise UserError(
            "vision_encoder.weights has to name a file with pretrained resnet18 weights (.safetensors or .pth); "
            "an encoder that needs none is vision_encoder.name=small"
        )
    encoder.load_pretrained(Path(config.weights))
