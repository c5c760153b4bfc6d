"""Inverse dynamics: motion codes, and what is seen and felt now -> the actions that cause the motion (section 3.3)."""

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn

from common.errors import UserError
from policy.heads.gaussian import GaussianHead
from policy.kinematics import POSE_DIM, panda_hand_pose
from policy.text import TEXT_DIM, TextConfig, build_text_encoder
from policy.vision import VisionConfig, build_vision_encoder
from policy.waypoints import Waypoints
from tokenizer.tracks.model import TokenizerConfig


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
    hand_pose: Literal["panda"] | None = None
    """the arm whose forward kinematics add the hand's pose to the proprioception"""
    waypoints: int = 0
    """how many of the hand's next waypoints are predicted, and shown to the head (see ``policy.waypoints``)"""
    vision_encoder: VisionConfig = field(default_factory=VisionConfig)
    text_encoder: TextConfig = field(default_factory=TextConfig)

    def __post_init__(self) -> None:
        if not (self.cond_on_tracks or self.cond_on_proprio or self.cond_on_img or self.cond_on_text):
            raise UserError("inverse dynamics needs at least one of cond_on_{tracks,proprio,img,text}")
        if self.hand_pose and not self.cond_on_proprio:
            raise UserError("hand_pose is part of the proprioception; set cond_on_proprio=true, or hand_pose=null")
        if self.waypoints and not (self.hand_pose and self.cond_on_img and self.cond_on_text):
            raise UserError("waypoints needs hand_pose=panda, cond_on_img=true and cond_on_text=true")

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
            felt = config.proprio_dim + (POSE_DIM if config.hand_pose else 0)
            self.proprio_proj = nn.Linear(felt, dim)
            if config.normalize_proprio:
                self.register_buffer("proprio_mean", torch.zeros(felt))
                self.register_buffer("proprio_std", torch.ones(felt))
        if config.waypoints:
            assert self.vision_encoder is not None
            seen = views * self.vision_encoder.num_tokens * self.vision_encoder.embed_dim
            self.waypoints = Waypoints(seen + felt + TEXT_DIM, dim, config.waypoints)
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

    def feel(self, proprio: Tensor) -> Tensor:
        """Proprioception (b, 9) -> the same with the hand's pose, where the config asks for it."""
        return torch.cat([proprio, panda_hand_pose(proprio[:, :7])], 1) if self.config.hand_pose else proprio

    def set_proprio_statistics(self, proprio: Tensor) -> None:
        """Takes mean and deviation, used when ``normalize_proprio`` is set, from the training data (frames, 9)."""
        felt = self.feel(proprio)
        self.proprio_mean.copy_(felt.mean(0))
        self.proprio_std.copy_(felt.std(0).clamp(min=1e-3))

    def condition(
        self, image_tokens: Tensor | None, text: Tensor | None, proprio: Tensor | None, codes: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """What the head attends to, and the displacements to the next waypoints where they are predicted.

        Image tokens (b, v, t, e), text features (b, 512), proprio (b, 9), codes (b, s, dim) -> (b, c, dim), (b, k, 9)
        """
        c, tokens, ahead = self.config, [], None
        if c.cond_on_img:
            image_tokens = _given(image_tokens, "images")
            tokens.append(self.img_proj(image_tokens.transpose(1, 2).flatten(2)))
        if c.cond_on_text:
            text = _given(text, "text")
            tokens.append(self.text_proj(text).unsqueeze(1))
        if c.cond_on_proprio:
            felt = self.feel(_given(proprio, "proprioception"))
            if c.normalize_proprio:
                felt = (felt - self.proprio_mean) / self.proprio_std
            tokens.append(self.proprio_proj(felt).unsqueeze(1))
        if c.waypoints:
            assert image_tokens is not None
            assert text is not None
            ahead, shown = self.waypoints(torch.cat([image_tokens.flatten(1), felt.to(text.dtype), text], 1))
            tokens.append(shown)
        if c.cond_on_tracks:
            tokens.append(_given(codes, "motion codes"))
        return torch.cat(tokens, 1), ahead

    def observe(
        self,
        images: Tensor,
        text: Tensor | None,
        proprio: Tensor,
        codes: Tensor | None,
        image_tokens: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """Images (b, v, h, w, 3) in [0, 1], prepared text, proprio (b, 9), codes (b, s, dim) -> as ``condition``.

        ``image_tokens`` may be given when a frozen encoder that is shared with forward dynamics has made them already.
        """
        features = None if self.text_encoder is None else self.text_encoder(_given(text, "text"))
        if self.vision_encoder is not None and image_tokens is None:
            image_tokens = self.vision_encoder(images, features)
        return self.condition(image_tokens, features, proprio, codes)

    def forward(
        self,
        images: Tensor,
        text: Tensor,
        proprio: Tensor,
        codes: Tensor,
        actions: Tensor,
        mask: Tensor,
        waypoints: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """The training step: loss, predicted actions (b, t, 7), and by how much waypoints are missed (b, k) in metres.

        ``mask`` (b, t) says which target actions count; ``waypoints`` (b, k, 9) are the displacements to the next ones.
        """
        condition, ahead = self.observe(images, text, proprio, codes)
        losses, predicted = self.head.losses(condition, actions)
        losses = losses.mean(-1) * self.head.weights  # (b, t)
        loss = (losses * mask).sum() / mask.sum().clamp(min=1)
        if ahead is None:
            return loss, predicted, None
        off = ahead - _given(waypoints, "waypoints")
        return loss + off.abs().sum(-1).mean(), predicted, off.detach()[..., :3].norm(dim=-1) / 10


def _given(value: Tensor | None, name: str) -> Tensor:
    if value is None:
        raise UserError(f"this inverse dynamics is conditioned on {name}, but none were given")
    return value
