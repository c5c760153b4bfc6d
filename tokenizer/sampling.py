"""Choosing a token from logits: greedily, or by chance among the likely ones."""

from dataclasses import dataclass

import torch
from torch import Tensor

from common.errors import UserError

_GREEDY = 1e-10


@dataclass(frozen=True)
class Sampling:
    """How tokens are chosen; unlikely ones are left out before the temperature is applied."""

    temperature: float = 0.0
    """0: the likeliest; 1: as likely as the model says"""
    top_k: float = 0.0
    """only so many of the likeliest, or, below 1, this share of all ids; 0: all"""
    top_p: float = 0.0
    """only the likeliest that together have this probability; 0: all"""

    def __post_init__(self) -> None:
        if self.temperature < 0:
            raise UserError(f"temperature is {self.temperature:g}; it must not be negative")
        if self.top_k < 0 or (self.top_k > 1 and self.top_k != int(self.top_k)):
            raise UserError(f"top_k is {self.top_k:g}; it must be a whole number, or a share below 1")
        if not 0 <= self.top_p <= 1:
            raise UserError(f"top_p is {self.top_p:g}; it must be between 0 and 1")

    @property
    def greedy(self) -> bool:
        """Whether the likeliest token is taken, and nothing drawn."""
        return self.temperature <= _GREEDY

    def kept(self, logits: Tensor) -> Tensor:
        """Logits (n, ids) with those of unlikely ids at minus infinity."""
        if self.top_k:
            share = self.top_k < 1
            count = max(int(self.top_k * logits.shape[-1]) if share else int(self.top_k), 1)
            least = logits.topk(min(count, logits.shape[-1]), -1).values[..., -1:]
            logits = logits.masked_fill(logits < least, -torch.inf)
        if self.top_p:
            ordered, indices = logits.sort(-1, descending=True)
            before = ordered.softmax(-1).cumsum(-1).roll(1, -1)
            before[..., 0] = 0  # the likeliest always stays
            unlikely = torch.zeros_like(logits, dtype=torch.bool).scatter(-1, indices, before > self.top_p)
            logits = logits.masked_fill(unlikely, -torch.inf)
        return logits

    def __call__(self, logits: Tensor, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """Logits (n, ids) -> ids (n,) and the probability (n,) with which each was chosen.

        Without ``generator`` torch's own draws."""
        if self.greedy:
            return logits.argmax(-1), torch.ones(len(logits), device=logits.device)
        probabilities = (self.kept(logits) / self.temperature).softmax(-1)
        ids = torch.multinomial(probabilities, 1, generator=generator)
        return ids[:, 0], probabilities.gather(-1, ids)[:, 0]
