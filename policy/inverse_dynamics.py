"""Inverse dynamics: motion codes, and what is seen and felt now -> the actions that cause the motion (section 3.3)."""

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn

from demos.errors import UserError
from policy.heads.gaussian import GaussianHead
from policy.text import TEXT_DIM, TextConfig, build_text_encoder
from policy.vision import VisionConfig, build_vision_encoder
from tokenizer.model import TokenizerConfig


@dataclass(frozen=True)
class InverseConfig:
    """Everything, besides the tokenizer's config, that determines inverse dynamics. Defaults as published."""

    type: Literal["gaussian"] = "gaussian"
    num_layers: int = 4
    num_heads: int = 8
    attn_pdrop: float = 0.1
    action_dim: int = 7
    proprio_dim: int = 9
    action_horizon: int = 16
    std: float | Literal["learned"] = 0.1
    action_squash: bool = True
    action_squash_scale: float | Literal["learned"] = 1.0
    action_loss_discount: float = 0.99
    cond_on_tracks: bool = True
    cond_on_proprio: bool = True
    cond_on_img: bool = True
    cond_on_text: bool = False
    normalize_proprio: bool = False
    """subtract the training data's mean and divide by its deviation (both kept with the weights)"""
    vision_encoder: VisionConfig = field(default_factory=VisionConfig)
    text_encoder: TextConfig = field(default_factory=TextConfig)

    def __post_init__(self) -> None:
        if not (self.cond_on_tracks or self.cond_on_proprio or self.cond_on_img or self.cond_on_text):
            raise UserError("inverse dynamics needs at least one of cond_on_{tracks,proprio,img,text}")

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


class InverseDynamics(nn.Module):
    """Acts on condition tokens; which ones there are and in which order is fixed by ``config``."""

    proprio_mean: Tensor
    proprio_std: Tensor

    def __init__(self, config: InverseConfig, tokenizer: TokenizerConfig):
        super().__init__()
        self.config, self.tokenizer_config = config, tokenizer
        dim, views = tokenizer.hidden_dim, len(tokenizer.views)
        self.vision_encoder = build_vision_encoder(config.vision_encoder, views) if config.cond_on_img else None
        # the small vision encoder is told by the text what to look for, whether or not there is a text token
        self.reads_text = config.cond_on_text or (config.cond_on_img and config.vision_encoder.name == "small")
        self.text_encoder = build_text_encoder(config.text_encoder) if self.reads_text else None
        if self.vision_encoder is not None:
            self.img_proj = nn.Linear(views * self.vision_encoder.embed_dim, dim)
        if config.cond_on_text:
            self.text_proj = nn.Linear(TEXT_DIM, dim)
        if config.cond_on_proprio:
            self.proprio_proj = nn.Linear(config.proprio_dim, dim)
            if config.normalize_proprio:
                self.register_buffer("proprio_mean", torch.zeros(config.proprio_dim))
                self.register_buffer("proprio_std", torch.ones(config.proprio_dim))
        self.head = GaussianHead(
            dim,
            config.action_horizon,
            config.action_dim,
            config.num_layers,
            config.num_heads,
            config.attn_pdrop,
            config.std,
            config.action_squash,
            config.action_squash_scale,
            config.action_loss_discount,
        )

    def set_proprio_statistics(self, mean: Tensor, std: Tensor) -> None:
        """Mean and standard deviation (9,) of the training data, used when ``normalize_proprio`` is set."""
        self.proprio_mean.copy_(mean)
        self.proprio_std.copy_(std.clamp(min=1e-3))

    def condition(
        self, image_tokens: Tensor | None, text: Tensor | None, proprio: Tensor | None, codes: Tensor | None
    ) -> Tensor:
        """Image tokens (b, v, t, e), text features (b, 512), proprio (b, 9), codes (b, s, dim) -> (b, c, dim)."""
        c, tokens = self.config, []
        if c.cond_on_img:
            tokens.append(self.img_proj(_given(image_tokens, "images").transpose(1, 2).flatten(2)))
        if c.cond_on_text:
            tokens.append(self.text_proj(_given(text, "text")).unsqueeze(1))
        if c.cond_on_proprio:
            proprio = _given(proprio, "proprioception")
            if c.normalize_proprio:
                proprio = (proprio - self.proprio_mean) / self.proprio_std
            tokens.append(self.proprio_proj(proprio).unsqueeze(1))
        if c.cond_on_tracks:
            tokens.append(_given(codes, "motion codes"))
        return torch.cat(tokens, 1)

    def observe(
        self,
        images: Tensor,
        text: Tensor | None,
        proprio: Tensor,
        codes: Tensor | None,
        image_tokens: Tensor | None = None,
    ) -> Tensor:
        """Images (b, v, h, w, 3) in [0, 1], prepared text, proprio (b, 9), codes (b, s, dim) -> condition tokens.

        ``image_tokens`` may be given when a frozen encoder that is shared with forward dynamics has made them already.
        """
        features = None if self.text_encoder is None else self.text_encoder(_given(text, "text"))
        if self.vision_encoder is not None and image_tokens is None:
            image_tokens = self.vision_encoder(images, features)
        return self.condition(image_tokens, features, proprio, codes)

    def forward(
        self, images: Tensor, text: Tensor, proprio: Tensor, codes: Tensor, actions: Tensor, mask: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The training step: loss and predicted actions. ``mask`` (b, t) says which target actions count."""
        losses, predicted = self.head.losses(self.observe(images, text, proprio, codes), actions)
        losses = losses.mean(-1) * self.head.weights  # (b, t)
        return (losses * mask).sum() / mask.sum().clamp(min=1), predicted


def _given(value: Tensor | None, name: str) -> Tensor:
    if value is None:
        raise UserError(f"this inverse dynamics is conditioned on {name}, but none were given")
    return value
