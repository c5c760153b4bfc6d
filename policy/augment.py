"""Image augmentation: random shifts, softening, brightness, contrast, colour.

What is done to a batch is drawn with it, in NumPy (``draw``), and done to the images on the device that trains on them
(``augmented``), which costs a GPU nothing and a CPU one step in fifty.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class AugmentConfig:
    """Strengths; zeros switch it off."""

    shift: int = 4
    """largest shift in pixels, up, down, left or right; the border is repeated"""
    soften: float = 0.5
    """part of the samples that are blurred by a pixel, so that rendering with and without multisampling looks alike"""
    brightness: float = 0.1
    """largest change of brightness, added to all channels"""
    contrast: float = 0.15
    """largest relative change of contrast, the same for all channels"""
    color: float = 0.05
    """largest relative change of a single channel"""


OFF = AugmentConfig(shift=0, soften=0.0, brightness=0.0, contrast=0.0, color=0.0)


def draw(batch: int, views: int, config: AugmentConfig, rng: np.random.Generator) -> dict[str, Tensor]:
    """What ``augmented`` does to a batch: ``shifts`` (b, v, 2), rows and columns; ``softened`` (b,), which samples are;
    ``jitter`` (b, 2, 3), a factor and an offset for each sample and colour channel, the same for all its views."""

    def uniform(strength: float, channels: int) -> np.ndarray:
        return rng.uniform(-strength, strength, (batch, channels))

    shifts = rng.integers(-config.shift, config.shift + 1, (batch, views, 2))
    softened = rng.random(batch) < config.soften
    factor = 1 + uniform(config.contrast, 1) + uniform(config.color, 3)
    offset = uniform(config.brightness, 1) + 0.5 * (1 - factor)  # contrast turns about the middle grey
    jitter = np.stack([factor, np.broadcast_to(offset, factor.shape)], 1).astype(np.float32)
    return {
        "shifts": torch.from_numpy(shifts),
        "softened": torch.from_numpy(softened),
        "jitter": torch.from_numpy(jitter),
    }


def augmented(batch: dict[str, Tensor], dtype: torch.dtype = torch.float32) -> Tensor:
    """``images`` of a batch, uint8 (b, v, h, w, 3), changed as the rest of it says (see ``draw``), in [0, 1]."""
    moved = softened(shifted(batch["images"], batch["shifts"]), batch["softened"])
    b, v, h, w, c = moved.shape
    pixels = moved.reshape(b, v * h, w * c).to(dtype)  # long rows: a sixth of the time that rows of three take
    factor, offset = batch["jitter"].to(dtype).repeat(1, 1, w).unsqueeze(2).unbind(1)  # each (b, 1, w * c)
    return pixels.mul_(factor / 255).add_(offset).clamp_(0, 1).view(moved.shape)


def shifted(images: Tensor, shifts: Tensor) -> Tensor:
    """(b, v, h, w, 3) with each image moved by its rows and columns (b, v, 2); the border is repeated."""
    h, w, c = images.shape[2:]
    rows, columns = (
        (torch.arange(size, device=images.device) + offsets.unsqueeze(-1)).clamp(0, size - 1)
        for size, offsets in zip((h, w), shifts.unbind(-1), strict=True)
    )
    places = rows.unsqueeze(-1) * w + columns.unsqueeze(-2)  # (b, v, h, w)
    taken = images.flatten(2, 3).gather(2, places.flatten(2).unsqueeze(-1).expand(-1, -1, -1, c))
    return taken.view(images.shape)


def softened(images: Tensor, chosen: Tensor) -> Tensor:
    """uint8 (b, v, h, w, 3) with the chosen samples (b,) averaged over 2 x 2 pixels."""
    soft = images >> 1
    soft = torch.cat([soft[:, :, :1] * 2, soft[:, :, 1:] + soft[:, :, :-1]], 2) >> 1
    soft = torch.cat([soft[:, :, :, :1] * 2, soft[:, :, :, 1:] + soft[:, :, :, :-1]], 3)
    return torch.where(chosen.view(-1, 1, 1, 1, 1), soft, images)


def to_float(images: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """uint8 (b, v, h, w, 3) -> [0, 1], as they are."""
    return images.to(dtype) / 255
