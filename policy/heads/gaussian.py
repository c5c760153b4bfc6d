"""The Gaussian action head: a transformer decoder from learned queries to the mean of a truncated normal."""

from math import sqrt

import torch
from torch import Tensor, nn

from tokenizer.transformer import TransformerDecoder


def truncated_normal_losses(actions: Tensor, mean: Tensor, std: Tensor, bound: Tensor) -> Tensor:
    """Negative log likelihood, elementwise, of ``actions`` under a normal that is cut off at -bound and +bound."""
    log_density = torch.distributions.Normal(mean, std, validate_args=False).log_prob(actions)

    def cdf(x: Tensor) -> Tensor:
        return 0.5 * (1 + torch.erf((x - mean) / (std * sqrt(2))))

    return -(log_density - torch.log(cdf(bound) - cdf(-bound) + 1e-6))


class GaussianHead(nn.Module):
    """``act`` gives the mean. ``std`` and ``squash_scale`` are numbers or ``learned`` scalars (starting at 1)."""

    weights: Tensor

    def __init__(
        self,
        dim: int,
        horizon: int,
        action_dim: int,
        num_layers: int,
        num_heads: int,
        dropout: float,
        std: float | str,
        squash: bool,
        squash_scale: float | str,
        discount: float,
    ):
        super().__init__()
        self.squash = squash
        self.latents = nn.Parameter(torch.randn(1, horizon, dim) * 0.02)
        self.decoder = TransformerDecoder(horizon, dim, num_layers, num_heads, dropout)
        self.action_proj = nn.Linear(dim, action_dim)
        self.register_buffer("weights", discount ** torch.arange(horizon), persistent=False)  # (t,) of the losses
        self.std = self._scalar(std)
        self.action_squash_scale = self._scalar(squash_scale)

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
