"""The diffusion action head: a transformer that tells noise from actions, and removes it step by step.

As AMPLIFY publishes it: DDPM with the noise itself as the target (Ho et al., 2020) and cosine levels (Nichol and
Dhariwal, 2021). DDIM (Song et al., 2021) needs a few of its steps only, with the same weights.
"""

from dataclasses import dataclass
from math import cos, log, pi
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from policy.heads.base import SamplingHead


@dataclass(frozen=True, kw_only=True)
class DiffusionHeadConfig:
    """Everything that determines the head."""

    dim: int
    """of the condition tokens, and of the network"""
    condition_tokens: int
    """how many there are"""
    horizon: int
    action_dim: int
    num_layers: int
    num_heads: int
    dropout: float
    levels: int
    """of noise"""
    sampler: Literal["ddpm", "ddim"] = "ddpm"
    ddim_steps: int = 10


def signal_shares(levels: int) -> Tensor:
    """How much of the variance of noisy actions is the actions', (levels + 1,): 1 at level 0, nearly 0 at the last.

    >>> signal_shares(2)
    tensor([1.0000e+00, 4.9384e-01, 4.9384e-04])
    """

    def share(part: float) -> float:
        return cos((part + 0.008) / 1.008 * pi / 2) ** 2

    added = [min(1 - share((i + 1) / levels) / share(i / levels), 0.999) for i in range(levels)]
    return torch.cat([torch.ones(1), (1 - torch.tensor(added)).cumprod(0)])


class NoiseNetwork(nn.Module):
    """Noisy actions (b, t, action_dim) and their level -> the noise in them.

    Names and shapes of weights are the published ones.
    """

    frequencies: Tensor

    def __init__(self, config: DiffusionHeadConfig):
        super().__init__()
        c, dim = config, config.dim
        self.pos_emb = nn.Parameter(torch.empty(1, c.horizon, dim))
        self.cond_pos_emb = nn.Parameter(torch.empty(1, 1 + c.condition_tokens, dim))
        self.input_emb = nn.Linear(c.action_dim, dim)
        self.cond_obs_emb = nn.Linear(dim, dim)
        self.encoder = nn.Sequential(nn.Linear(dim, 4 * dim), nn.Mish(), nn.Linear(4 * dim, dim))
        layer = nn.TransformerDecoderLayer(
            dim, c.num_heads, 4 * dim, c.dropout, F.gelu, batch_first=True, norm_first=True
        )
        self.decoder = nn.TransformerDecoder(layer, c.num_layers)
        self.ln_f = nn.LayerNorm(dim)
        self.head = nn.Linear(dim, c.action_dim)
        half = dim // 2
        self.register_buffer("frequencies", torch.exp(-torch.arange(half) * log(10000) / (half - 1)), persistent=False)
        for name, parameter in self.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(parameter)
            elif parameter.ndim > 1:  # the weights of norms stay ones
                nn.init.normal_(parameter, std=0.02)

    def remember(self, condition: Tensor) -> Tensor:
        """Condition tokens (b, c, dim) -> what ``forward`` attends to, which is the same for all levels."""
        return self.encoder(self.cond_obs_emb(condition) + self.cond_pos_emb[:, 1:])

    def forward(self, noisy: Tensor, level: Tensor, memory: Tensor) -> Tensor:
        """(b, t, action_dim), levels (b,) from 0 on, ``memory`` (b, c, dim) -> (b, t, action_dim) float32"""
        angles = level.unsqueeze(1) * self.frequencies
        level_token = torch.cat([angles.sin(), angles.cos()], 1).unsqueeze(1) + self.cond_pos_emb[:, :1]
        memory = torch.cat([self.encoder(level_token).to(memory.dtype), memory], 1)
        y = self.decoder(self.input_emb(noisy) + self.pos_emb, memory)
        return self.head(self.ln_f(y)).float()


class DiffusionHead(SamplingHead):
    """``act`` starts from pure noise. ``ddpm`` takes all levels down and adds fresh noise at each, ``ddim`` a few of
    them and adds none. Actions lie in [-1, 1]."""

    signal: Tensor
    """how much of the variance is the actions', at each level"""
    path: Tensor
    """the levels that ``act`` goes through, the last of which is 0: no noise"""

    def __init__(self, config: DiffusionHeadConfig):
        c = config
        super().__init__(c.horizon, c.action_dim)
        self.policy = nn.ModuleDict({"noise_pred_net": NoiseNetwork(c)})  # as published weights call it
        self.register_buffer("signal", signal_shares(c.levels), persistent=False)
        self.freshness = 1.0 if c.sampler == "ddpm" else 0.0
        self.num_steps = c.levels if c.sampler == "ddpm" else c.ddim_steps
        path = torch.linspace(c.levels, 0, self.num_steps + 1).round().long()
        self.register_buffer("path", path, persistent=False)
        self.num_draws = self.num_steps if c.sampler == "ddpm" else 1

    @property
    def network(self) -> NoiseNetwork:
        return self.policy["noise_pred_net"]  # type: ignore[return-value]

    def losses(self, condition: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        network, actions = self.network, actions.float()
        noise = torch.randn_like(actions)
        level = torch.randint(0, len(self.signal) - 1, (len(actions),), device=actions.device)
        signal = self.signal[level + 1, None, None]
        noisy = signal.sqrt() * actions + (1 - signal).sqrt() * noise
        found = network(noisy, level, network.remember(condition))
        return (found - noise).square(), _without(noisy, found, signal).detach()

    def remember(self, condition: Tensor) -> list[Tensor]:
        return [self.network.remember(condition)]

    def step(self, x: Tensor, step: Tensor, fresh: Tensor, memory: list[Tensor]) -> Tensor:
        level = self.path[step]
        signal, left = self.signal[level], self.signal[self.path[step + 1]]
        found = self.network(x, (level - 1).expand(x.shape[0]), memory[0])
        actions = _without(x, found, signal)
        found = (x - signal.sqrt() * actions) / (1 - signal).sqrt()  # the noise beside the clamped actions
        added = self.freshness * ((1 - left) / (1 - signal) * (1 - signal / left)).sqrt()  # none at the end
        return left.sqrt() * actions + (1 - left - added.square()).clamp(min=0).sqrt() * found + added * fresh


def _without(noisy: Tensor, noise: Tensor, signal: Tensor) -> Tensor:
    """The actions, in [-1, 1], in noisy ones whose noise is known."""
    return ((noisy - (1 - signal).sqrt() * noise) / signal.sqrt()).clamp(-1, 1)
