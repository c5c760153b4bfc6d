"""What an action head is: condition tokens to a chunk of actions, which may be a matter of chance."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from common.errors import UserError
from policy.heads.noise import seeded_noise


class ActionHead(nn.Module, ABC):
    """Condition tokens (b, c, dim) -> actions (b, t, action_dim).

    A head that samples turns ``num_draws`` normal draws into its actions; they are handed in, so that ``act`` itself
    leaves nothing to chance.
    """

    weights: Tensor
    """(t,) of the losses"""
    num_draws: int = 0
    inpaints: bool = False
    """Whether ``inpaint`` is there."""

    def __init__(self, horizon: int, action_dim: int, discount: float = 1.0):
        super().__init__()
        self.shape = (horizon, action_dim)
        self.register_buffer("weights", discount ** torch.arange(horizon), persistent=False)

    @property
    @abstractmethod
    def network(self) -> nn.Module:
        """What does nearly all of the computing."""

    @abstractmethod
    def losses(self, condition: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """Losses (b, t, action_dim) for the true ``actions``, before ``weights``; and what the head takes these for.

        The latter is what ``act`` gives where the head does not sample; else its guess at the true actions from the
        noisy ones that it was shown.
        """

    @abstractmethod
    def act(self, condition: Tensor, noise: Tensor) -> Tensor:
        """(b, c, dim), ``noise`` (num_draws, b, t, action_dim) -> actions (b, t, action_dim)"""

    def inpaint(self, condition: Tensor, noise: Tensor, actions: Tensor, weights: Tensor) -> Tensor:
        """As ``act``, but so that rows come near those of ``actions`` (b, t, action_dim) by their ``weights`` (b, t).

        Raises:
            UserError: this head cannot.
        """
        raise UserError("only policies with a flow head go on with planned actions; this one's head is another")

    def noise(self, batch: int, seed: int | None = None) -> Tensor:
        """What ``act`` is to be given, (num_draws, b, t, action_dim); with a ``seed`` that of ``seeded_noise``, else
        from torch's generator."""
        if seed is not None:
            noise = torch.from_numpy(seeded_noise(self.num_draws, batch, self.shape, seed))
        else:
            noise = torch.empty(self.num_draws, batch, *self.shape)
            for draw in noise:
                draw.normal_()
        return noise.to(self.weights.device)


class SamplingHead(ActionHead):
    """A head whose actions come out of noise, in ``num_steps`` steps."""

    num_steps: int

    @abstractmethod
    def remember(self, condition: Tensor) -> list[Tensor]:
        """Condition tokens (b, c, dim) -> what all steps attend to."""

    @abstractmethod
    def step(self, x: Tensor, step: Tensor, fresh: Tensor, memory: list[Tensor]) -> Tensor:
        """What the step of this number, () from 0 on, makes of ``x`` (b, t, action_dim): the same, with less noise.

        ``fresh`` is the next draw, (b, t, action_dim): after the last one the first again, which a step that would
        add it twice does not look at. ``memory`` is what ``remember`` gave.
        """

    def act(self, condition: Tensor, noise: Tensor) -> Tensor:
        memory, x = self.remember(condition), noise[0]
        for step in range(self.num_steps):
            x = self.step(x, torch.tensor(step, device=x.device), noise[(step + 1) % len(noise)], memory)
        return x
