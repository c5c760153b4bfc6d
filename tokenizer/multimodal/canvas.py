"""The square that frames are brought to before they are tokenized, the same for pixels and for points in them."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

Fit = Literal["crop", "squash"]
SIDE = 256
"""Pixels of a side."""


@dataclass(frozen=True)
class Canvas:
    """How frames of ``width`` x ``height`` pixels become a square of ``side``.

    ``crop`` makes the shorter side fit and takes the middle of the longer one; ``squash`` makes both fit, whatever
    becomes of circles. Of square frames both make the same.

    >>> Canvas(480, 270).resized, Canvas(480, 270).left
    ((455, 256), 100)
    """

    width: int
    height: int
    fit: Fit = "crop"
    side: int = SIDE

    @property
    def resized(self) -> tuple[int, int]:
        """(width, height) before anything is cut off."""
        if self.fit == "squash":
            return self.side, self.side
        shorter = min(self.width, self.height)
        return int(self.side * self.width / shorter), int(self.side * self.height / shorter)

    @property
    def left(self) -> int:
        """Pixels of the resized frame to the left of the square."""
        return round((self.resized[0] - self.side) / 2)

    @property
    def top(self) -> int:
        """Pixels of the resized frame above the square."""
        return round((self.resized[1] - self.side) / 2)

    def image(self, frame: np.ndarray) -> np.ndarray:
        """(height, width, 3) uint8 -> (side, side, 3) uint8, bicubic with antialiasing."""
        resized = Image.fromarray(frame).resize(self.resized, Image.Resampling.BICUBIC)
        return np.asarray(resized.crop((self.left, self.top, self.left + self.side, self.top + self.side)))

    def points(self, points: np.ndarray) -> np.ndarray:
        """(..., 2) x and y in pixels of the frame -> in pixels of the square; may lie outside it."""
        scale = np.array(self.resized) / (self.width, self.height)
        return points.astype(np.float64) * scale - (self.left, self.top)

    def points_in_frame(self, points: np.ndarray) -> np.ndarray:
        """The inverse of ``points``."""
        moved = points + np.array((self.left, self.top))
        return moved * (self.width, self.height) / np.array(self.resized)

    def inside(self, points: np.ndarray) -> np.ndarray:
        """(..., 2) in pixels of the square -> (...) bool, whether they lie in it."""
        return np.all((points >= 0) & (points <= self.side), axis=-1)


def to_tensor(images: np.ndarray) -> Tensor:
    """(b, h, w, 3) uint8 -> (b, 3, h, w) float32 in [-1, 1], as image tokenizers take them."""
    return torch.from_numpy(images.copy()).movedim(-1, 1).float() / 255 * 2 - 1


def to_images(tensor: Tensor) -> np.ndarray:
    """(b, 3, h, w) of about [-1, 1] -> (b, h, w, 3) uint8."""
    return ((tensor.float().clamp(-1, 1) + 1) * 127.5).round().byte().movedim(1, -1).cpu().numpy()
