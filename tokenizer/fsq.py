"""Finite scalar quantisation (Mentzer et al., 2023) with AMPLIFY's table of levels; computed in float32 always."""

from math import floor, log2

import torch
import vector_quantize_pytorch
from torch import Tensor

from common.errors import UserError

LEVELS: dict[int, list[int]] = {
    4: [5, 3],
    6: [8, 8],
    8: [8, 6, 5],
    9: [8, 8, 8],
    10: [8, 5, 5, 5],
    11: [8, 8, 6, 5],
    12: [7, 5, 5, 5, 5],
}
"""Quantisation levels by floor(log2(nominal codebook size)); their product is the real number of codes."""


class FSQ(vector_quantize_pytorch.FSQ):
    """Quantises (b, s, dim) vectors: project to a few dimensions, squash, round each to a level, project back.

    The real codebook may be smaller or larger than the nominal ``codebook_size`` (2048 -> 1920, 4096 -> 4375);
    ``num_codes`` says. Indices beyond it wrap around in ``indices_to_codes``, as published.
    """

    def __init__(self, dim: int, codebook_size: int):
        power = floor(log2(codebook_size)) if codebook_size > 0 else 0
        if power not in LEVELS:
            sizes = ", ".join(str(2**p) for p in LEVELS)
            raise UserError(f"codebook_size {codebook_size} has no level table; use one of {sizes}")
        super().__init__(LEVELS[power], dim=dim)
        self.num_codes = self.codebook_size

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """(b, s, dim) -> codes (b, s, dim) with a straight-through gradient, indices (b, s) int64."""
        with torch.autocast(z.device.type, enabled=False):
            codes, indices = super().forward(z.float())
        return codes, indices.long()

    def indices_to_codes(self, indices: Tensor) -> Tensor:
        """(b, s) integers -> codes (b, s, dim); the same vectors as ``forward`` gives for these indices."""
        with torch.autocast(indices.device.type, enabled=False):
            return super().indices_to_codes(indices)
