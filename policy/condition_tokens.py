"""Condition tokens of inverse dynamics: one class for each kind of input that the action head attends to.

Each takes what it needs from ``Features`` and makes tokens (b, c, dim) of it. A new kind of input is a field there,
a class here, and a line in ``InverseDynamics`` that says when it is used.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from common.errors import UserError
from policy.text import TEXT_DIM


@dataclass(frozen=True)
class Features:
    """What the encoders make of an observation; None for what this policy does not look at."""

    image_tokens: Tensor | None = None
    """(b, v, t, e)"""
    text: Tensor | None = None
    """(b, 512)"""
    proprio: Tensor | None = None
    """(b, p), with the hand's pose and normalised where the config asks for it"""
    waypoints: Tensor | None = None
    """(b, k, 9) predicted displacements to the hand's next waypoints"""
    codes: Tensor | None = None
    """(b, s, dim) motion codes"""


class ConditionTokens(nn.Module, ABC):
    """Makes tokens of one kind of input."""

    @abstractmethod
    def tokens(self, features: Features) -> Tensor:
        """(b, c, dim)"""


def given(value: Tensor | None, name: str) -> Tensor:
    """``value``; raises UserError where there is none."""
    if value is None:
        raise UserError(f"this inverse dynamics is conditioned on {name}, but none were given")
    return value


class ImageTokens(ConditionTokens, nn.Linear):
    """One token for each patch of the images, all views side by side."""

    def __init__(self, views: int, embed_dim: int, dim: int):
        super().__init__(views * embed_dim, dim)

    def tokens(self, features: Features) -> Tensor:
        return self(given(features.image_tokens, "images").transpose(1, 2).flatten(2))


class TextToken(ConditionTokens, nn.Linear):
    """One token for the instruction."""

    def __init__(self, dim: int):
        super().__init__(TEXT_DIM, dim)

    def tokens(self, features: Features) -> Tensor:
        return self(given(features.text, "text")).unsqueeze(1)


class ProprioToken(ConditionTokens, nn.Linear):
    """One token for the proprioception."""

    def tokens(self, features: Features) -> Tensor:
        return self(given(features.proprio, "proprioception")).unsqueeze(1)


class CodeTokens(ConditionTokens):
    """The motion codes as they are."""

    def tokens(self, features: Features) -> Tensor:
        return given(features.codes, "motion codes")


class AdaptedCodeTokens(ConditionTokens):
    """The motion codes, each through two layers, between which it is told its place among the ``count``.

    A code vector is a linear image of a few digits, and attention does not see the order of what it attends to: this
    makes both what a code means and when it comes readable. Were the positions added behind the layers, a head that
    attends evenly, as one does before it has learned, would still see the mere sum of codes and positions.
    """

    def __init__(self, count: int, dim: int):
        super().__init__()
        self.project_in, self.project_out = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.positions = nn.Parameter(torch.randn(count, dim))

    def tokens(self, features: Features) -> Tensor:
        hidden = self.project_in(given(features.codes, "motion codes")) + self.positions
        return self.project_out(F.silu(hidden))
