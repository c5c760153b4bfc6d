"""What can be added to the plain cross-entropy of motion classes: radial class weights, and a diversity of codes."""

from collections.abc import Sequence
from math import log

import torch
from torch import Tensor

from tokenizer.tracks.motion import Size


def radial_class_weights(window: Size, strength: float, power: float) -> Tensor:
    """(classes,) weights that grow from 1 for standing still to 1 + strength for the farthest motion.

    For a class at the distance r from the middle, as a share of the corner's, the weight is 1 + strength * r ** power.
    """
    rows, columns = torch.arange(window[0]), torch.arange(window[1])
    middle = window[0] // 2, window[1] // 2
    distance = torch.hypot(*torch.meshgrid((rows - middle[0]).float(), (columns - middle[1]).float(), indexing="ij"))
    farthest = max(1.0, (middle[0] ** 2 + middle[1] ** 2) ** 0.5)
    return (1 + strength * (distance / farthest).clamp(0, 1) ** power).flatten()


def counted_diversity_loss(indices: Tensor, codebook_size: int) -> Tensor:
    """1 - H / log(codebook_size), H the entropy of the codes' frequencies in ``indices`` (any shape); no gradient."""
    p = torch.bincount(indices.flatten(), minlength=codebook_size) / indices.numel()
    return 1 - torch.special.entr(p).sum() / log(codebook_size)


def soft_diversity_loss(bounded: Tensor, levels: Sequence[int], temperature: float = 0.25) -> Tensor:
    """The same for each digit of the codes apart, each belonging softly to the levels around it: differentiable.

    ``bounded`` (..., digits) are the quantiser's values before rounding.
    """
    entropy = bounded.new_zeros(())
    for digit, level in enumerate(levels):
        centres = torch.arange(level, device=bounded.device) - level // 2
        share = (-(bounded[..., digit, None] - centres).square() / temperature).softmax(-1)
        p = share.flatten(0, -2).mean(0)
        entropy = entropy - (p * (p + 1e-12).log()).sum()
    return 1 - entropy / sum(map(log, levels))
