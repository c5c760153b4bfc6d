"""What forward dynamics makes of its features: a distribution over the codes, by one softmax or one for each digit.

A code of finite scalar quantisation is a few digits, each of a few levels (8 x 8 x 6 x 5 for a nominal 2,048 codes),
and near digits mean near motions. One softmax over all codes, as AMPLIFY has it, does not know that; a small softmax
for each digit does: 27 numbers say what 2,048 did, and a digit that is wrong leaves the others right.
"""

from abc import ABC, abstractmethod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tokenizer.fsq import FSQ


class CodeHead(nn.Linear, ABC):
    """Features (..., dim) -> logits (..., outputs), and what they mean for the codes of ``quantize``."""

    @abstractmethod
    def loss(self, logits: Tensor, indices: Tensor) -> Tensor:
        """Mean over all codes of -log P(true one), of logits (b, s, outputs) and the true ``indices`` (b, s)."""

    @abstractmethod
    def log_probabilities(self, logits: Tensor) -> Tensor:
        """(..., outputs) -> (..., codes), float32: of each code as a whole."""

    @abstractmethod
    def likeliest(self, logits: Tensor) -> Tensor:
        """(..., outputs) -> the likeliest code's index (...)."""

    @abstractmethod
    def expected_digits(self, logits: Tensor) -> Tensor:
        """(..., outputs) -> the mean of each digit (..., d) in [-1, 1], float32, with a gradient."""


class JointCodeHead(CodeHead):
    """One softmax over the codebook, of its nominal size as published, or of its real one where that is larger.

    Outputs beyond the real codebook (the last 128 of 2,048) are impossible; without ``masked`` they are taken for the
    code that they wrap around to, as published.
    """

    digits: Tensor
    """(outputs, d) of the code of each output"""

    def __init__(self, dim: int, quantize: FSQ, nominal_size: int, masked: bool):
        super().__init__(dim, max(nominal_size, quantize.num_codes))
        self.num_codes, self.masked = quantize.num_codes, masked
        self.register_buffer("digits", quantize.digits(torch.arange(self.out_features)), persistent=False)

    def forward(self, features: Tensor) -> Tensor:
        logits = super().forward(features)
        if not self.masked or self.num_codes == self.out_features:
            return logits
        real = torch.arange(self.out_features, device=logits.device) < self.num_codes
        return logits.masked_fill(~real, -torch.inf)

    def loss(self, logits: Tensor, indices: Tensor) -> Tensor:
        return F.cross_entropy(logits.float().flatten(0, 1), indices.flatten().long())

    def log_probabilities(self, logits: Tensor) -> Tensor:
        return logits.float().log_softmax(-1)

    def likeliest(self, logits: Tensor) -> Tensor:
        return logits.argmax(-1)

    def expected_digits(self, logits: Tensor) -> Tensor:
        with torch.autocast(logits.device.type, enabled=False):
            return logits.float().softmax(-1) @ self.digits


class LevelsCodeHead(CodeHead):
    """One softmax for each digit, all independent of each other: what is chosen is always a code."""

    levels_of_codes: Tensor
    """(codes, d): which output each digit of each code is"""

    def __init__(self, dim: int, quantize: FSQ):
        super().__init__(dim, sum(quantize.levels))
        self.levels = quantize.levels
        starts = torch.tensor([0, *self.levels[:-1]]).cumsum(0)
        chosen = quantize.indices_to_level_indices(torch.arange(quantize.num_codes))
        self.register_buffer("levels_of_codes", starts + chosen, persistent=False)

    def _by_digit(self, logits: Tensor) -> tuple[Tensor, ...]:
        return logits.float().split(self.levels, -1)

    def loss(self, logits: Tensor, indices: Tensor) -> Tensor:
        outputs = self.levels_of_codes[indices.long()]  # (b, s, d)
        chosen = self._log_probabilities_by_level(logits).gather(-1, outputs)
        return -chosen.sum(-1).mean()

    def _log_probabilities_by_level(self, logits: Tensor) -> Tensor:
        return torch.cat([digit.log_softmax(-1) for digit in self._by_digit(logits)], -1)

    def log_probabilities(self, logits: Tensor) -> Tensor:
        return self._log_probabilities_by_level(logits)[..., self.levels_of_codes].sum(-1)

    def likeliest(self, logits: Tensor) -> Tensor:
        index, basis = torch.zeros(logits.shape[:-1], dtype=torch.long, device=logits.device), 1
        for digit in self._by_digit(logits):
            index, basis = index + digit.argmax(-1) * basis, basis * digit.shape[-1]
        return index

    def expected_digits(self, logits: Tensor) -> Tensor:
        means = []
        for digit in self._by_digit(logits):
            half = digit.shape[-1] // 2
            values = (torch.arange(digit.shape[-1], device=digit.device) - half) / half
            means.append((digit.softmax(-1) * values).sum(-1))
        return torch.stack(means, -1)
