"""Inverse dynamics: motion codes and an observation -> the actions that cause the motion (AMPLIFY, section 3.3).

An observation is images, an instruction and proprioception. Encoders make features of it, these and the codes become
condition tokens (``policy.condition_tokens``), and an action head attends to them.
"""

from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from common.conventions import ACTION_DIM, HORIZON, PROPRIO_DIM
from common.errors import UserError, require
from demos.panda import POSE_DIM, panda_hand_pose
from policy.condition_tokens import (
    AdaptedCodeTokens,
    CodeTokens,
    ConditionTokens,
    Features,
    ImageTokens,
    ProprioToken,
    TextToken,
    given,
)
from policy.heads.base import ActionHead
from policy.heads.diffusion import DiffusionHead, DiffusionHeadConfig
from policy.heads.flow import FlowHead, FlowHeadConfig
from policy.heads.gaussian import GaussianHead, GaussianHeadConfig
from policy.text import TEXT_DIM, TextConfig, TextEncoder, build_text_encoder
from policy.vision import VisionConfig, VisionEncoder, build_vision_encoder
from policy.waypoints import WaypointTokens
from tokenizer.tracks.model import TokenizerConfig

JOINTS = 7
"""of an arm, in actions of joint angles"""


@dataclass(frozen=True)
class InverseConfig:
    """Everything, besides the tokenizer's config, that determines inverse dynamics. Defaults as published."""

    type: Literal["gaussian", "diffusion", "flow"] = "gaussian"
    """the action head; the options named after one, those of its distribution too, are of no use to the others"""
    num_layers: int = 4
    num_heads: int = 8
    attn_pdrop: float = 0.1
    action_dim: int = ACTION_DIM
    proprio_dim: int = PROPRIO_DIM
    action_horizon: int = HORIZON
    std: float | Literal["learned"] = 0.1
    action_squash: bool = True
    action_squash_scale: float | Literal["learned"] = 1.0
    action_loss_discount: float = 0.99
    diffusion_steps: int = 100
    """levels of noise, all of which the ddpm sampler takes"""
    diffusion_sampler: Literal["ddpm", "ddim"] = "ddpm"
    """ddim: ``ddim_steps`` of the levels, and no fresh noise at them"""
    ddim_steps: int = 10
    flow_matching_steps: int = 100
    flow_solver: Literal["midpoint", "euler"] = "midpoint"
    """euler asks the network half as often a step, and does with few steps"""
    action_key: Literal["actions", "joint_states"] = "actions"
    """what an action is: the demonstration's command (in LIBERO the hand's displacement), or the joint angles that
    were reached a step later (rad), and the gripper's command: 8 numbers"""
    normalize_actions: Literal["min_max"] | None = None
    """the head's actions are stretched so that those of the training data fill [-1, 1] (their least and greatest are
    kept with the weights); what the policy gives stays within these"""
    gripper: Literal["regression", "classification"] = "regression"
    """classification: the last action is learned as the choice between opening and closing (see ``GaussianHead``)"""
    gripper_weight: float = 1.0
    """with gripper=classification: of its loss, beside that of every other number of an action"""
    cond_on_tracks: bool = True
    cond_on_proprio: bool = True
    cond_on_img: bool = True
    cond_on_text: bool = False
    """a token for the instruction. Without it, and with vision_encoder.film=false (or resnet18), the instruction is
    not seen at all: it reaches the actions through the motion codes alone."""
    normalize_proprio: bool = False
    """subtract the training data's mean and divide by its deviation (both kept with the weights)"""
    hand_pose: Literal["panda"] | None = None
    """the arm whose forward kinematics add the hand's pose to the proprioception"""
    waypoints: int = 0
    """how many of the hand's next waypoints are predicted and become tokens (see ``policy.waypoints``); from images,
    proprioception, and text where cond_on_text"""
    waypoints_from_codes: bool = False
    """also from the motion codes"""
    code_adapter: bool = False
    """codes go through two layers and are told apart by learned positions; otherwise their order is not seen"""
    vision_encoder: VisionConfig = field(default_factory=VisionConfig)
    text_encoder: TextConfig = field(default_factory=TextConfig)

    def __post_init__(self) -> None:
        require(
            self.gripper == "regression" or self.type == "gaussian",
            f"gripper=classification is for type=gaussian; a {self.type} head tells opening from closing by itself",
        )
        require(
            min(self.diffusion_steps, self.ddim_steps, self.flow_matching_steps) >= 1,
            "diffusion_steps, ddim_steps and flow_matching_steps must be at least 1",
        )
        require(
            self.type != "diffusion" or self.diffusion_sampler == "ddpm" or self.ddim_steps <= self.diffusion_steps,
            f"ddim_steps={self.ddim_steps} must be at most diffusion_steps={self.diffusion_steps}",
        )
        require(
            self.action_key == "actions" or (self.action_dim == JOINTS + 1 and self.normalize_actions is not None),
            f"action_key={self.action_key} has {JOINTS + 1} numbers in radians, which heads do not reach; "
            f"set action_dim={JOINTS + 1} normalize_actions=min_max",
        )
        if not (self.cond_on_tracks or self.cond_on_proprio or self.cond_on_img or self.cond_on_text):
            raise UserError("inverse dynamics needs at least one of cond_on_{tracks,proprio,img,text}")
        if self.hand_pose and not self.cond_on_proprio:
            raise UserError("hand_pose is part of the proprioception; set cond_on_proprio=true, or hand_pose=null")
        if self.waypoints and not (self.hand_pose and self.cond_on_img):
            raise UserError("waypoints needs hand_pose=panda and cond_on_img=true")
        if self.waypoints and not (self.cond_on_text or self.waypoints_from_codes):
            raise UserError(
                "waypoints depend on what is to be done; let them see the instruction (cond_on_text=true) or the "
                "motion codes (waypoints_from_codes=true)"
            )
        if not self.cond_on_tracks and (self.waypoints_from_codes or self.code_adapter):
            raise UserError("waypoints_from_codes and code_adapter need the motion codes; set cond_on_tracks=true")

    @property
    def reads_text(self) -> bool:
        """Whether it sees the instruction itself: as a token, or through eyes that are told what to look for."""
        return self.cond_on_text or (self.cond_on_img and self.vision_encoder.reads_text)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def build_head(config: InverseConfig, dim: int, condition_tokens: int) -> ActionHead:
    """The head that ``config`` names, for so many condition tokens of width ``dim``."""
    c = config
    sizes: dict[str, int] = {
        "dim": dim,
        "horizon": c.action_horizon,
        "action_dim": c.action_dim,
        "num_layers": c.num_layers,
        "num_heads": c.num_heads,
    }
    if c.type == "diffusion":
        return DiffusionHead(
            DiffusionHeadConfig(
                **sizes,
                condition_tokens=condition_tokens,
                dropout=c.attn_pdrop,
                levels=c.diffusion_steps,
                sampler=c.diffusion_sampler,
                ddim_steps=c.ddim_steps,
            )
        )
    if c.type == "flow":
        return FlowHead(FlowHeadConfig(**sizes, steps=c.flow_matching_steps, solver=c.flow_solver))
    return GaussianHead(
        GaussianHeadConfig(
            **sizes,
            dropout=c.attn_pdrop,
            std=c.std,
            squash=c.action_squash,
            squash_scale=c.action_squash_scale,
            discount=c.action_loss_discount,
            gripper=c.gripper,
            gripper_weight=c.gripper_weight,
        )
    )


class InverseDynamics(nn.Module):
    """Acts on condition tokens; which ones there are and in which order is fixed by ``config``."""

    vision_encoder: VisionEncoder | None
    text_encoder: TextEncoder | None
    waypoints: WaypointTokens
    proprio_mean: Tensor
    proprio_std: Tensor
    action_low: Tensor
    action_high: Tensor

    def __init__(self, config: InverseConfig, tokenizer: TokenizerConfig):
        super().__init__()
        self.config, self.tokenizer_config = config, tokenizer
        dim, views = tokenizer.hidden_dim, len(tokenizer.views)
        vision = build_vision_encoder(config.vision_encoder, views) if config.cond_on_img else None
        self.vision_encoder = vision
        self.text_encoder = build_text_encoder(config.text_encoder) if config.reads_text else None
        proprio_width = config.proprio_dim + (POSE_DIM if config.hand_pose else 0)
        if config.normalize_proprio and config.cond_on_proprio:
            self.register_buffer("proprio_mean", torch.zeros(proprio_width))
            self.register_buffer("proprio_std", torch.ones(proprio_width))
        kinds: dict[str, ConditionTokens] = {}
        if vision is not None:
            kinds["img_proj"] = ImageTokens(views, vision.embed_dim, dim)
        if config.cond_on_text:
            kinds["text_proj"] = TextToken(dim)
        if config.cond_on_proprio:
            kinds["proprio_proj"] = ProprioToken(proprio_width, dim)
        if config.waypoints:
            assert vision is not None
            width = views * vision.num_tokens * vision.embed_dim + proprio_width
            width += TEXT_DIM if config.cond_on_text else 0
            codes_seen = tokenizer.num_codes if config.waypoints_from_codes else 0
            kinds["waypoints"] = WaypointTokens(width, dim, config.waypoints, config.cond_on_text, codes_seen)
        if config.cond_on_tracks:
            kinds["codes"] = AdaptedCodeTokens(tokenizer.num_codes, dim) if config.code_adapter else CodeTokens()
        for name, module in kinds.items():  # the names that the weights have in checkpoints
            self.add_module(name, module)
        self.condition_tokens = tuple(kinds.values())
        tokens = 0 if vision is None else vision.num_tokens
        tokens += config.cond_on_text + config.cond_on_proprio + config.waypoints
        tokens += tokenizer.num_codes if config.cond_on_tracks else 0
        self.head = build_head(config, dim, tokens)
        if config.normalize_actions is not None:
            self.register_buffer("action_low", -torch.ones(config.action_dim))
            self.register_buffer("action_high", torch.ones(config.action_dim))

    def proprio_features(self, proprio: Tensor) -> Tensor:
        """Proprioception (b, 9) -> the same with the hand's pose, where the config asks for it."""
        return torch.cat([proprio, panda_hand_pose(proprio[:, :7])], 1) if self.config.hand_pose else proprio

    def set_statistics(self, proprio: Tensor, actions: Tensor) -> None:
        """Takes from the training data (frames, 9) and (frames, action_dim) what normalising needs, where the config
        asks for it. Numbers of an action that never change are left as they are."""
        if self.config.normalize_proprio and self.config.cond_on_proprio:
            features = self.proprio_features(proprio)
            self.proprio_mean.copy_(features.mean(0))
            self.proprio_std.copy_(features.std(0).clamp(min=1e-3))
        if self.config.normalize_actions is not None:
            low, high = actions.amin(0), actions.amax(0)
            changes = high - low > 1e-6
            self.action_low.copy_(torch.where(changes, low, -1.0))
            self.action_high.copy_(torch.where(changes, high, 1.0))

    def _normalized(self, actions: Tensor) -> Tensor:
        """What the head is to give for ``actions`` (..., action_dim)."""
        if self.config.normalize_actions is None:
            return actions
        return (actions - self.action_low) / (self.action_high - self.action_low) * 2 - 1

    def denormalized(self, normalized: Tensor) -> Tensor:
        """The actions that a head's ``normalized`` ones (..., action_dim) stand for, which are brought to [-1, 1]."""
        normalized = normalized.clamp(-1, 1)
        if self.config.normalize_actions is None:
            return normalized
        return (normalized + 1) / 2 * (self.action_high - self.action_low) + self.action_low

    def act(self, condition: Tensor, noise: Tensor, plan: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """Condition tokens (b, c, dim), the head's noise (see ``ActionHead.noise``) -> actions (b, t, action_dim).

        ``plan``: actions (b, t, action_dim) to go on with, and their weights (b, t) (see ``ActionHead.inpaint``).
        """
        if plan is None:
            return self.denormalized(self.head.act(condition, noise))
        wanted, weights = plan
        return self.denormalized(self.head.inpaint(condition, noise, self._normalized(wanted), weights))

    def condition(
        self, image_tokens: Tensor | None, text: Tensor | None, proprio: Tensor | None, codes: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """What the head attends to, and the displacements to the next waypoints where they are predicted.

        Image tokens (b, v, t, e), text features (b, 512), proprio (b, 9), codes (b, s, dim) -> (b, c, dim), (b, k, 9)
        """
        c = self.config
        if c.cond_on_proprio:
            proprio = self.proprio_features(given(proprio, "proprioception"))
            if c.normalize_proprio:
                proprio = (proprio - self.proprio_mean) / self.proprio_std
        features = Features(image_tokens, text, proprio, codes=codes)
        if c.waypoints:
            features = replace(features, waypoints=self.waypoints(features))
        return torch.cat([kind.tokens(features) for kind in self.condition_tokens], 1), features.waypoints

    def encode(
        self,
        images: Tensor,
        text: Tensor | None,
        proprio: Tensor,
        codes: Tensor | None,
        image_tokens: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """Images (b, v, h, w, 3) in [0, 1], prepared text, proprio (b, 9), codes (b, s, dim) -> as ``condition``.

        ``image_tokens`` may be given when an encoder that is shared with forward dynamics has made them already.
        """
        features = None if self.text_encoder is None else self.text_encoder(given(text, "text"))
        if self.vision_encoder is not None and image_tokens is None:
            image_tokens = self.vision_encoder(images, features)
        return self.condition(image_tokens, features, proprio, codes)

    def forward(
        self,
        images: Tensor,
        text: Tensor | None,
        proprio: Tensor,
        codes: Tensor,
        actions: Tensor,
        mask: Tensor,
        waypoints: Tensor | None = None,
        image_tokens: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """The training step: loss, predicted actions (b, t, action_dim), the waypoints' errors (b, k) in metres.

        ``mask`` (b, t) says which target actions count; ``waypoints`` (b, k, 9) are the displacements to the next ones.
        ``image_tokens`` as in ``encode``. The predicted actions are those of ``act``; in training, of a head that
        samples, what it has at hand instead (see ``ActionHead.losses``).
        """
        condition, predicted_waypoints = self.encode(images, text, proprio, codes, image_tokens)
        losses, predicted = self.head.losses(condition, self._normalized(actions))
        if self.training or not self.head.num_draws:
            predicted = self.denormalized(predicted)
        else:
            predicted = self.act(condition, self.head.noise(len(condition)))
        losses = losses.mean(-1) * self.head.weights  # (b, t)
        loss = (losses * mask).sum() / mask.sum().clamp(min=1)
        if predicted_waypoints is None:
            return loss, predicted, None
        errors = predicted_waypoints - given(waypoints, "waypoints")
        return loss + errors.abs().sum(-1).mean(), predicted, errors.detach()[..., :3].norm(dim=-1) / 10
