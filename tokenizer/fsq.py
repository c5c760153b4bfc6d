"""Finite scalar quantisation (Mentzer et al., 2023) with AMPLIFY's table of levels; computed in float32 always."""

from math import prod

import torch
import vector_quantize_pytorch
from torch import Tensor

from common.errors import UserError

LEVELS: dict[int, tuple[int, ...]] = {
    16: (5, 3),
    64: (8, 8),
    256: (8, 6, 5),
    512: (8, 8, 8),
    1024: (8, 5, 5, 5),
    2048: (8, 8, 6, 5),
    4096: (7, 5, 5, 5, 5),
}
"""Quantisation levels by nominal codebook size; their product is the number of codes that there are."""


def check_codebook_size(size: int) -> None:
    """Raises UserError for a nominal codebook size that has no levels."""
    if size not in LEVELS:
        raise UserError(f"codebook_size {size} has no level table; use one of {', '.join(map(str, LEVELS))}")


def actual_codebook_size(size: int) -> int:
    """Codes that there are for a nominal codebook size.

    >>> actual_codebook_size(2048)
    1920
    """
    check_codebook_size(size)
    return prod(LEVELS[size])


class FSQ(vector_quantize_pytorch.FSQ):
    """Quantises (b, s, dim) vectors: project to a few dimensions, squash, round each to a level, project back.

    The real codebook may be smaller or larger than the nominal ``codebook_size`` (2048 -> 1920, 4096 -> 4375);
    ``num_codes`` says. Indices beyond it wrap around in ``indices_to_codes``, as published.
    """

    def __init__(self, dim: int, codebook_size: int):
        check_codebook_size(codebook_size)
        super().__init__(list(LEVELS[codebook_size]), dim=dim)
        self.levels = LEVELS[codebook_size]
        self.num_codes = actual_codebook_size(codebook_size)

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """(b, s, dim) -> codes (b, s, dim) with a straight-through gradient, indices (b, s) int64."""
        with torch.autocast(z.device.type, enabled=False):
            codes, indices = super().forward(z.float())
        return codes, indices.long()

    def bounded(self, z: Tensor) -> Tensor:
        """(b, s, dim) -> the squashed values (b, s, digits) whose nearest integers are the code's digits."""
        with torch.autocast(z.device.type, enabled=False):
            half = (self._levels - 1) * 1.001 / 2
            offset = torch.where(self._levels % 2 == 0, 0.5, 0.0)
            return (self.project_in(z.float()) + (offset / half).atanh()).tanh() * half - offset

    def indices_to_codes(self, indices: Tensor) -> Tensor:
        """(b, s) integers -> codes (b, s, dim); the same vectors as ``forward`` gives for these indices."""
        with torch.autocast(indices.device.type, enabled=False):
            return super().indices_to_codes(indices)

    def digits(self, indices: Tensor) -> Tensor:
        """Integers (...) -> the digits (..., d) of these codes, float32 in [-1, 1]; beyond the codebook they wrap."""
        return self._indices_to_codes(indices).float()

    def digits_to_codes(self, digits: Tensor) -> Tensor:
        """(b, s, d) in [-1, 1], means of several codes' digits too -> (b, s, dim). Linear: the mean of their codes."""
        with torch.autocast(digits.device.type, enabled=False):
            return self.project_out(digits.float())
