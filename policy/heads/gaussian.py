"""The Gaussian action head: a transformer decoder from learned queries to the mean of a truncated normal.

The gripper, the last number of an action, knows two commands only: it may be learned as the choice between them.
"""

from dataclasses import dataclass
from math import sqrt
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from policy.heads.base import ActionHead
from tokenizer.transformer import TransformerDecoder


def truncated_normal_losses(actions: Tensor, mean: Tensor, std: Tensor, bound: Tensor) -> Tensor:
    """Negative log likelihood, elementwise, of ``actions`` under a normal that is cut off at -bound and +bound."""
    log_density = torch.distributions.Normal(mean, std, validate_args=False).log_prob(actions)

    def cdf(x: Tensor) -> Tensor:
        return 0.5 * (1 + torch.erf((x - mean) / (std * sqrt(2))))

    return -(log_density - torch.log(cdf(bound) - cdf(-bound) + 1e-6))


@dataclass(frozen=True, kw_only=True)
class GaussianHeadConfig:
    """Everything that determines the head."""

    dim: int
    """of the condition tokens, and of the decoder"""
    horizon: int
    action_dim: int
    num_layers: int
    num_heads: int
    dropout: float
    std: float | Literal["learned"]
    squash: bool
    """tanh on the mean"""
    squash_scale: float | Literal["learned"]
    """the mean is multiplied by it; also where the distribution is cut off"""
    discount: float
    """of the losses, for each step into the future"""
    gripper: Literal["regression", "classification"] = "regression"
    gripper_weight: float = 1.0
    """with classification: of the gripper's loss"""


class GaussianHead(ActionHead):
    """``act`` gives the mean, and needs no noise. A ``learned`` std or scale is one scalar, which starts at 1.

    With ``gripper=classification`` the last number of an action is of another kind: the network's output is the
    log-odds of closing, the loss its cross-entropy, and the action the expected command, P(close) - P(open). A target
    between -1 (open) and 1 (close) is a probability too: the zeros past the end of an episode count as undecided.
    """

    def __init__(self, config: GaussianHeadConfig):
        c = config
        super().__init__(c.horizon, c.action_dim, c.discount)
        self.squash = c.squash
        self.classifies_gripper, self.gripper_weight = c.gripper == "classification", c.gripper_weight
        self.latents = nn.Parameter(torch.randn(1, c.horizon, c.dim) * 0.02)
        self.decoder = TransformerDecoder(c.horizon, c.dim, c.num_layers, c.num_heads, c.dropout)
        self.action_proj = nn.Linear(c.dim, c.action_dim)
        self.std = self._scalar(c.std)
        self.action_squash_scale = self._scalar(c.squash_scale)

    @property
    def network(self) -> TransformerDecoder:
        return self.decoder

    @staticmethod
    def _scalar(value: float | str) -> Tensor | float:
        return nn.Parameter(torch.tensor(1.0)) if value == "learned" else float(value)

    def _outputs(self, condition: Tensor) -> Tensor:
        """The network's, (b, t, action_dim), float32"""
        x = self.decoder(self.latents.expand(condition.shape[0], -1, -1), condition)
        return self.action_proj(x).float()

    def _mean(self, outputs: Tensor) -> Tensor:
        mean = (outputs.tanh() if self.squash else outputs) * self.action_squash_scale
        if self.classifies_gripper:  # P(close) - P(open) = tanh(log-odds / 2)
            mean = torch.cat([mean[..., :-1], (outputs[..., -1:] / 2).tanh()], -1)
        return mean

    def losses(self, condition: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        outputs = self._outputs(condition)
        mean, actions = self._mean(outputs), actions.float()
        std, bound = (torch.as_tensor(x, device=mean.device) for x in (self.std, self.action_squash_scale))
        losses = truncated_normal_losses(actions, mean, std, bound)
        if self.classifies_gripper:
            closing = (actions[..., -1:].clamp(-1, 1) + 1) / 2
            gripper = F.binary_cross_entropy_with_logits(outputs[..., -1:], closing, reduction="none")
            losses = torch.cat([losses[..., :-1], self.gripper_weight * gripper], -1)
        return losses, mean.detach()

    def act(self, condition: Tensor, noise: Tensor | None = None) -> Tensor:
        return self._mean(self._outputs(condition))

    def sample(self, condition: Tensor) -> Tensor:
        """Like ``act``, drawn from the distribution instead of its mean."""
        mean = self.act(condition)
        inside = torch.as_tensor(self.action_squash_scale - 1e-6)
        drawn = torch.clamp(mean + self.std * torch.randn_like(mean), -inside, inside)
        if self.classifies_gripper:
            gripper = mean[..., -1:]
            drawn[..., -1:] = torch.where(torch.rand_like(gripper) < (gripper + 1) / 2, 1.0, -1.0)
        return drawn
