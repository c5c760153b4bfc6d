"""Image augmentation: random shifts, softening, brightness, contrast, colour.

What is drawn is drawn in NumPy, with the batch. Places of pixels are changed there too, which one CPU core does as fast
as it trains, or, where a GPU waits for the images, on that (``moved_and_softened``).
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


def shift(images: np.ndarray, limit: int, rng: np.random.Generator) -> np.ndarray:
    """(b, v, h, w, 3) with every image shifted by up to ``limit`` pixels either way."""
    if limit == 0:
        return images
    b, v, h, w, _ = images.shape
    rows = np.clip(np.arange(h) + rng.integers(-limit, limit + 1, (b, v, 1)), 0, h - 1)
    columns = np.clip(np.arange(w) + rng.integers(-limit, limit + 1, (b, v, 1)), 0, w - 1)
    shifted = np.empty_like(images)
    for i in range(b):
        for j in range(v):
            shifted[i, j] = images[i, j].take(rows[i, j], 0).take(columns[i, j], 1)
    return shifted


def soften(images: np.ndarray, chance: float, rng: np.random.Generator) -> np.ndarray:
    """(b, v, h, w, 3) with a random part of the samples averaged over 2 x 2 pixels."""
    chosen = np.flatnonzero(rng.random(len(images)) < chance)
    softened = images.copy()
    for i in chosen:
        for view in softened[i]:
            view[1:] = (view[1:] >> 1) + (view[:-1] >> 1)
            view[:, 1:] = (view[:, 1:] >> 1) + (view[:, :-1] >> 1)
    return softened


def move_and_soften(images: np.ndarray, config: AugmentConfig, rng: np.random.Generator) -> np.ndarray:
    """What is done to the pixels' places, on uint8 images (b, v, h, w, 3); ``jitter`` does their values."""
    return soften(shift(images, config.shift, rng), config.soften, rng)


def draw_moves(batch: int, views: int, config: AugmentConfig, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """What ``moved_and_softened`` does to a batch: shifts (b, v, 2), rows and columns, and which are softened (b,)."""
    shifts = rng.integers(-config.shift, config.shift + 1, (batch, views, 2))
    return torch.from_numpy(shifts), torch.from_numpy(rng.random(batch) < config.soften)


def moved_and_softened(images: Tensor, shifts: Tensor, softened: Tensor) -> Tensor:
    """uint8 (b, v, h, w, 3) as ``draw_moves`` says, on the images' device; the border is repeated."""
    h, w, c = images.shape[2:]
    places = []
    for size, offsets in zip((h, w), shifts.unbind(-1), strict=True):
        places.append((torch.arange(size, device=images.device) + offsets.unsqueeze(-1)).clamp(0, size - 1))
    flat = places[0].unsqueeze(-1) * w + places[1].unsqueeze(-2)  # (b, v, h, w)
    moved = images.flatten(2, 3).gather(2, flat.flatten(2).unsqueeze(-1).expand(-1, -1, -1, c)).view(images.shape)
    soft = moved >> 1
    soft = torch.cat([soft[:, :, :1] * 2, soft[:, :, 1:] + soft[:, :, :-1]], 2) >> 1
    soft = torch.cat([soft[:, :, :, :1] * 2, soft[:, :, :, 1:] + soft[:, :, :, :-1]], 3)
    return torch.where(softened.view(-1, 1, 1, 1, 1), soft, moved)


def jitter(batch: int, config: AugmentConfig, rng: np.random.Generator) -> np.ndarray:
    """(b, 2, 3): a factor and an offset for each sample and colour channel, the same for all its views."""

    def draw(strength: float, channels: int) -> np.ndarray:
        return rng.uniform(-strength, strength, (batch, channels))

    factor = 1 + draw(config.contrast, 1) + draw(config.color, 3)
    offset = draw(config.brightness, 1) + 0.5 * (1 - factor)  # contrast turns about the middle grey
    return np.stack([factor, np.broadcast_to(offset, factor.shape)], 1).astype(np.float32)


def to_float(images: Tensor, jitters: Tensor | None = None, dtype: torch.dtype = torch.float32) -> Tensor:
    """uint8 (b, v, h, w, 3) -> [0, 1], with the factors and offsets (b, 2, 3) of ``jitter`` applied."""
    if jitters is None:
        return images.to(dtype) / 255
    b, v, h, w, c = images.shape
    pixels = images.reshape(b, v * h, w * c).to(dtype)  # long rows: a sixth of the time that rows of three take
    factor, offset = jitters.to(dtype).repeat(1, 1, w).unsqueeze(2).unbind(1)  # each (b, 1, w * c)
    return pixels.mul_(factor / 255).add_(offset).clamp_(0, 1).view(images.shape)
