"""The trained models that a recipe builds on: a tokenizer, forward dynamics, pretrained vision weights."""

from pathlib import Path

from torch import nn

from common.errors import UserError
from policy.forward_dynamics import ForwardConfig, ForwardDynamics
from policy.vision import VisionConfig
from tokenizer.fsq import FSQ
from tokenizer.resnet import ResNet18
from tokenizer.tracks.model import MotionTokenizer, TokenizerConfig
from training import checkpoint
from training.checkpoint import Checkpoint
from training.typed_config import from_mapping


def load_tokenizer(path: str) -> tuple[MotionTokenizer, Checkpoint]:
    """A trained tokenizer, frozen, and the checkpoint it came from."""
    found = checkpoint.read(path, "motion_tokenizer")
    return MotionTokenizer.load(path), found


def load_forward(path: str, tokenizer: Checkpoint) -> tuple[ForwardDynamics, Checkpoint]:
    """Trained forward dynamics, frozen, and the checkpoint it came from; refused unless it predicts the codes of
    this ``tokenizer``."""
    found = checkpoint.read(path, "forward_dynamics")
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
