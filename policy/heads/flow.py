"""The flow-matching action head: a velocity that carries noise to actions along straight lines (Lipman et al., 2023).

As AMPLIFY publishes it: its network is a DiT (Peebles and Xie, 2023) without self-attention, its solver the midpoint
rule. A few steps of Euler's rule do with the same weights. Actions that go on with planned ones come from the same
weights, guided (Pokle et al., 2024, as real-time chunking does).
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import log
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from policy.heads.base import SamplingHead
from tokenizer.transformer import attend

TIME_WIDTH = 256
GUIDANCE = 5.0
"""The strength of guidance at most, in the paper of real-time chunking, which takes five steps; with fewer it would
overshoot."""


Velocity = Callable[[Tensor, Tensor], Tensor]
"""Points (b, t, action_dim) and their time -> which way they go."""


@dataclass(frozen=True, kw_only=True)
class FlowHeadConfig:
    """Everything that determines the head. There is no dropout."""

    dim: int
    """of the condition tokens, and of the network"""
    horizon: int
    action_dim: int
    num_layers: int
    num_heads: int
    steps: int
    solver: Literal["midpoint", "euler"] = "midpoint"
    """the midpoint rule asks the network twice a step"""


def position_table(length: int, dim: int) -> Tensor:
    """(length, dim): sines at even places, cosines at odd ones (Vaswani et al., 2017)."""
    angles = torch.arange(length).unsqueeze(1) * torch.exp(-torch.arange(0, dim, 2) * log(10000) / dim)
    return torch.stack([angles.sin(), angles.cos()], -1).flatten(1)


class _TimeEmbedder(nn.Module):
    """Two layers on the sines and cosines of a time."""

    def __init__(self, dim: int):
        super().__init__()
        self.linear_1, self.linear_2 = nn.Linear(TIME_WIDTH, dim), nn.Linear(dim, dim)

    def forward(self, features: Tensor) -> Tensor:
        return self.linear_2(F.silu(self.linear_1(features)))


class _TimeNorm(nn.Module):
    """A norm whose scale and shift follow from the time."""

    def __init__(self, dim: int):
        super().__init__()
        self.linear = nn.Linear(dim, 2 * dim)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        scale, shift = self.linear(F.silu(time)).unsqueeze(1).chunk(2, -1)
        return _norm(x) * (1 + scale) + shift


class _CrossAttention(nn.Module):
    def __init__(self, dim: int, heads: int):
        super().__init__()
        self.heads = heads
        self.to_q, self.to_k, self.to_v = (nn.Linear(dim, dim) for _ in range(3))
        self.to_out = nn.ModuleList([nn.Linear(dim, dim)])

    def remember(self, condition: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values (b, heads, c, d) of a condition."""
        return self._split(self.to_k(condition)), self._split(self.to_v(condition))

    def forward(self, x: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        attended = attend(self._split(self.to_q(x)), keys, values)
        return self.to_out[0](attended.transpose(1, 2).flatten(2))

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class _Widen(nn.Module):
    def __init__(self, dim: int):
        super().__init__()
        self.proj = nn.Linear(dim, 4 * dim)

    def forward(self, x: Tensor) -> Tensor:
        return F.gelu(self.proj(x), approximate="tanh")


class _Block(nn.Module):
    """Attention to the condition, from queries that know time and position; then two layers."""

    positions: Tensor

    def __init__(self, horizon: int, dim: int, heads: int):
        super().__init__()
        self.norm1 = _TimeNorm(dim)
        self.attn1 = _CrossAttention(dim, heads)
        # published weights stand at 0 and 2
        self.ff = nn.ModuleDict({"net": nn.Sequential(_Widen(dim), nn.Identity(), nn.Linear(4 * dim, dim))})
        self.register_buffer("positions", position_table(horizon, dim), persistent=False)

    def forward(self, x: Tensor, time: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        x = x + self.attn1(self.norm1(x, time) + self.positions, keys, values)
        return x + self.ff["net"](_norm(x))


class VelocityNetwork(nn.Module):
    """Points (b, t, action_dim) between noise and actions, and their time -> which way the actions are.

    Names and shapes of weights are the published ones.
    """

    frequencies: Tensor

    def __init__(self, config: FlowHeadConfig):
        super().__init__()
        c, dim = config, config.dim
        self.timestep_encoder = nn.ModuleDict({"timestep_embedder": _TimeEmbedder(dim)})
        self.proj_in = nn.Linear(c.action_dim, dim)
        self.transformer_blocks = nn.ModuleList(_Block(c.horizon, dim, c.num_heads) for _ in range(c.num_layers))
        self.proj_out_1, self.proj_out_2 = nn.Linear(dim, 2 * dim), nn.Linear(dim, c.action_dim)
        half = TIME_WIDTH // 2
        self.register_buffer("frequencies", torch.exp(-torch.arange(half) * log(10000) / (half - 1)), persistent=False)

    def remember(self, condition: Tensor) -> list[Tensor]:
        """Condition tokens (b, c, dim) -> what ``forward`` attends to, which is the same at all times: keys and values
        (b, heads, c, d) of every block in turn."""
        return [part for block in self.transformer_blocks for part in block.attn1.remember(condition)]  # type: ignore[operator, union-attr]

    def forward(self, x: Tensor, time: Tensor, memory: list[Tensor]) -> Tensor:
        """(b, t, action_dim), times (b,) in [0, 1], ``memory`` -> velocities (b, t, action_dim) float32"""
        angles = time.unsqueeze(1) * self.frequencies
        time = self.timestep_encoder["timestep_embedder"](torch.cat([angles.cos(), angles.sin()], 1))
        x = self.proj_in(x)
        for block, keys, values in zip(self.transformer_blocks, memory[::2], memory[1::2], strict=True):
            x = block(x, time, keys, values)
        shift, scale = self.proj_out_1(F.silu(time)).unsqueeze(1).chunk(2, -1)
        return self.proj_out_2(_norm(x, 1e-6) * (1 + scale) + shift).float()


def _norm(x: Tensor, eps: float = 1e-5) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], eps=eps)


class FlowHead(SamplingHead):
    """``act`` follows the velocity from one normal draw, at time 0, to actions, at time 1. Nothing bounds them."""

    num_draws = 1
    inpaints = True

    def __init__(self, config: FlowHeadConfig):
        c = config
        super().__init__(c.horizon, c.action_dim)
        self.policy = nn.ModuleDict({"net": VelocityNetwork(c)})  # as published weights call it
        self.num_steps, self.solver = c.steps, c.solver

    @property
    def network(self) -> VelocityNetwork:
        return self.policy["net"]  # type: ignore[return-value]

    def losses(self, condition: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        network, actions = self.network, actions.float()
        noise = torch.randn_like(actions)
        time = torch.rand(len(actions), device=actions.device)
        part = time[:, None, None]
        x = part * actions + (1 - part) * noise
        velocity = network(x, time, network.remember(condition))
        return (velocity - (actions - noise)).square(), (x + (1 - part) * velocity).detach()

    def remember(self, condition: Tensor) -> list[Tensor]:
        return self.network.remember(condition)

    def step(self, x: Tensor, step: Tensor, fresh: Tensor, memory: list[Tensor]) -> Tensor:
        return self._along(lambda x, time: self.network(x, time, memory), x, step)

    def inpaint(self, condition: Tensor, noise: Tensor, actions: Tensor, weights: Tensor) -> Tensor:
        """See ``ActionHead``. At each step what the velocity would end at is compared with ``actions``, and the
        difference, by its weight, pulls back through the network (Black, Galliker and Levine, 2025, equations 2 to 4).
        """
        most = min(GUIDANCE, self.num_steps)
        with torch.inference_mode(False), torch.enable_grad():  # of copies: what inference mode made has no gradients
            memory = self.remember(condition.clone())
            wanted, weights = actions.clone(), weights.clone().unsqueeze(-1)

            def guided(x: Tensor, time: Tensor) -> Tensor:
                x = x.detach().requires_grad_()
                moving = self.network(x, time, memory)
                end = x + (1 - time[:, None, None]) * moving
                (pull,) = torch.autograd.grad(end, x, (weights * (wanted - end)).detach())
                now = float(time[0])
                left = now * (1 - now)
                strength = most if left <= 0 else min(most, (now**2 + (1 - now) ** 2) / left)
                return (moving + strength * pull).detach()

            x = noise[0].clone()
            for step in range(self.num_steps):
                x = self._along(guided, x, torch.tensor(step, device=x.device))
            return x

    def _along(self, velocity: Velocity, x: Tensor, step: Tensor) -> Tensor:
        """Where ``velocity`` takes points (b, t, action_dim) in the step of this number, ()."""
        length = 1 / self.num_steps
        time = (step * length).expand(x.shape[0])
        moving = velocity(x, time)
        if self.solver == "midpoint":
            moving = velocity(x + length / 2 * moving, time + length / 2)
        return x + length * moving
