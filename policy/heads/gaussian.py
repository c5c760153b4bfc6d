"""The Gaussian action head: a transformer decoder from learned queries to the mean of a truncated normal."""

from dataclasses import dataclass
from math import sqrt
from typing import Literal

import torch
from torch import Tensor, nn

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


class GaussianHead(nn.Module):
    """``act`` gives the mean. A ``learned`` std or scale is one scalar, which starts at 1."""

    weights: Tensor
    """(t,) of the losses"""

    def __init__(self, config: GaussianHeadConfig):
        super().__init__()
        c = config
        self.squash = c.squash
        self.latents = nn.Parameter(torch.randn(1, c.horizon, c.dim) * 0.02)
        self.decoder = TransformerDecoder(c.horizon, c.dim, c.num_layers, c.num_heads, c.dropout)
        self.action_proj = nn.Linear(c.dim, c.action_dim)
        self.register_buffer("weights", c.discount ** torch.arange(c.horizon), persistent=False)
        self.std = self._scalar(c.std)
        self.action_squash_scale = self._scalar(c.squash_scale)

    @staticmethod
    def _scalar(value: float | str) -> Tensor | float:
        return nn.Parameter(torch.tensor(1.0)) if value == "learned" else float(value)

    def mean(self, condition: Tensor) -> Tensor:
        """(b, c, dim) -> (b, t, action_dim), float32"""
        x = self.decoder(self.latents.expand(len(condition), -1, -1), condition)
        x = self.action_proj(x).float()
        return (x.tanh() if self.squash else x) * self.action_squash_scale

    def losses(self, condition: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """Losses (b, t, action_dim), before ``weights``, and what ``act`` would give."""
        mean = self.mean(condition)
        std, bound = (torch.as_tensor(x, device=mean.device) for x in (self.std, self.action_squash_scale))
        return truncated_normal_losses(actions.float(), mean, std, bound), mean.detach()

    def act(self, condition: Tensor) -> Tensor:
        """(b, c, dim) -> actions (b, t, action_dim)"""
        return self.mean(condition)

    def sample(self, condition: Tensor) -> Tensor:
        """Like ``act``, drawn from the distribution instead of its mean."""
        mean = self.mean(condition)
        inside = torch.as_tensor(self.action_squash_scale - 1e-6)
        return torch.clamp(mean + self.std * torch.randn_like(mean), -inside, inside)
