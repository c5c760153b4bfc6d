"""How long a masked model is trained, counted in tokens: optimisation steps, and the learning rate over them."""

from dataclasses import dataclass
from math import ceil


@dataclass(frozen=True)
class TokenBudget:
    """A training that is over when ``total_tokens`` million tokens have been seen.

    Every sample counts ``tokens_per_sample``, however many it has; a step has ``batch_size`` samples over all devices.

    >>> TokenBudget(total_tokens=5000, warmup_tokens=500, tokens_per_sample=256, batch_size=128).steps
    152588
    """

    total_tokens: float
    warmup_tokens: float
    tokens_per_sample: int
    batch_size: int

    @property
    def tokens_per_step(self) -> int:
        return self.tokens_per_sample * self.batch_size

    def steps_of(self, tokens: float) -> int:
        """Steps in which that many million tokens are seen."""
        return ceil(tokens * 1e6 / self.tokens_per_step)

    @property
    def steps(self) -> int:
        return self.steps_of(self.total_tokens)

    @property
    def warmup_steps(self) -> int:
        return self.steps_of(self.warmup_tokens)
