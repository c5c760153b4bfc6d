"""Everything that determines a Motion VAE. The defaults are the document's: 25.7 M parameters."""

from dataclasses import dataclass
from typing import Literal

from common.errors import UserError
from tokenizer.body.features import feature_width

LATENT_FRAMES = 4
"""Frames of motion that a latent vector stands for: two halvings."""


@dataclass(frozen=True)
class BodyConfig:
    """What the model is, and what it is trained to do."""

    num_joints: int = 23
    hidden_dim: int = 512
    """channels of all inner layers, a multiple of ``groups``"""
    latent_dim: int = 768
    num_resnet_blocks: int = 2
    """in each of the six stages"""
    groups: int = 8
    """of channels that are normalised together"""
    mode: Literal["causal", "published"] = "causal"
    """causal: nothing is seen before its time, so motion can be encoded as it comes. published: as the published source
    computes, whose norm sees the whole clip; the same weights mean something else then"""
    look_ahead: bool = False
    """latents wait for the last of their four frames, instead of coming with the first and never seeing the others"""
    lambda_kl: float = 1e-4

    def __post_init__(self) -> None:
        if self.hidden_dim % self.groups:
            raise UserError(f"hidden_dim is {self.hidden_dim}; it must be a multiple of groups, {self.groups}")
        if self.look_ahead and self.mode == "published":
            raise UserError("look_ahead is for mode=causal; the published mode sees the whole clip anyway")

    @property
    def input_dim(self) -> int:
        """Numbers a frame."""
        return feature_width(self.num_joints)
