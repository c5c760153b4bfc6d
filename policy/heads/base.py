"""What an action head is: condition tokens to a chunk of actions, which may be a matter of chance."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from common.errors import UserError


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
        """What ``act`` is to be given, (num_draws, b, t, action_dim).

        Without a ``seed`` torch's generator draws, for each row by itself. With one all rows are alike, and the same
        every time: actions then depend on the observation alone, not on the batch that it comes in nor on what was
        asked before.
        """
        rows = batch if seed is None else 1
        generator = None if seed is None else torch.Generator().manual_seed(seed)
        noise = torch.empty(self.num_draws, rows, *self.shape)
        for draw in noise:
            draw.normal_(generator=generator)
        return noise.expand(-1, batch, -1, -1).to(self.weights.device)
