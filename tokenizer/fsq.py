"""Finite scalar quantisation (Mentzer et al., 2023) with AMPLIFY's table of levels; computed in float32 always."""

from math import floor, log2, prod

import torch
from torch import Tensor, nn

from demos.errors import UserError

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


class FSQ(nn.Module):
    """Quantises (b, s, dim) vectors: project to a few dimensions, squash, round each to a level, project back.

    The real codebook may be smaller or larger than the nominal ``codebook_size`` (2048 -> 1920, 4096 -> 4375);
    ``num_codes`` says. Indices beyond it wrap around, as published.
    """

    levels: Tensor
    basis: Tensor

    def __init__(self, dim: int, codebook_size: int):
        super().__init__()
        power = floor(log2(codebook_size)) if codebook_size > 0 else 0
        if power not in LEVELS:
            sizes = ", ".join(str(2**p) for p in LEVELS)
            raise UserError(f"codebook_size {codebook_size} has no level table; use one of {sizes}")
        levels = LEVELS[power]
        self.num_codes = prod(levels)
        self.project_in = nn.Linear(dim, len(levels))
        self.project_out = nn.Linear(len(levels), dim)
        self.register_buffer("levels", torch.tensor(levels), persistent=False)
        # the first dimension runs fastest
        self.register_buffer("basis", torch.tensor([prod(levels[:i]) for i in range(len(levels))]), persistent=False)

    def bound(self, y: Tensor) -> Tensor:
        """Squashes (..., d) so that rounding gives exactly the level numbers -(L // 2) ... (L - 1) // 2."""
        half = (self.levels - 1) * (1 + 1e-3) / 2
        offset = torch.where(self.levels % 2 == 0, 0.5, 0.0)
        return torch.tanh(y + torch.atanh(offset / half)) * half - offset

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """(b, s, dim) -> codes (b, s, dim) with a straight-through gradient, indices (b, s) int64."""
        with torch.autocast(z.device.type, enabled=False):
            bounded = self.bound(self.project_in(z.float()))
            level = bounded + (bounded.round() - bounded).detach()
            width = self.levels // 2
            indices = ((level.detach().round().long() + width) * self.basis).sum(-1)
            return self.project_out(level / width), indices

    def indices_to_codes(self, indices: Tensor) -> Tensor:
        """(b, s) integers -> codes (b, s, dim); the same vectors as ``forward`` gives for these indices."""
        width = self.levels // 2
        level = indices.long().unsqueeze(-1) // self.basis % self.levels - width
        with torch.autocast(indices.device.type, enabled=False):
            return self.project_out((level / width).to(self.project_out.weight.dtype))
