"""What the tokens of a masked model stand for: images, joints and captions, and pictures of them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import torch
from PIL import Image, ImageDraw

from common.errors import UserError
from tokenizer.multimodal.canvas import to_images
from tokenizer.multimodal.coordinates import decoded_coordinates
from tokenizer.multimodal.image_tokenizers import ImageTokenizer, open_image_tokenizer
from tokenizer.multimodal.model import KIND
from training import checkpoint

_SEEN, _HIDDEN, _JOINT = (80, 220, 80), (110, 110, 110), (220, 60, 60)
_RADIUS = 3


@dataclass(frozen=True)
class Meaning:
    """Decodes tokens. ``lines`` are the joints that are joined when they are drawn."""

    images: ImageTokenizer
    bins: int
    lines: tuple[tuple[int, ...], ...]

    @classmethod
    def read(cls, path: Path, image_tokenizer: str, device: str = "cpu") -> Self:
        """Of the tokens that the masked model of a checkpoint was trained on.

        Raises:
            UserError: that was with another image tokenizer.
        """
        made = checkpoint.read(path, KIND).config["tokens"]
        name = made["image_tokenizer"]
        dtype = torch.bfloat16 if name.endswith("bfloat16") else torch.float32
        images = open_image_tokenizer(image_tokenizer, dtype, device)
        if images.name != name:
            raise UserError(
                f"{path} was trained on images of {name}, {image_tokenizer} is {images.name}; give that one"
            )
        return cls(images, made["bins"], tuple(tuple(line) for line in made["lines"]))

    def image(self, tokens: np.ndarray) -> np.ndarray:
        """Ids (b, grid * grid) -> (b, 256, 256, 3) uint8."""
        grid = self.images.grid
        return to_images(self.images.decode(torch.from_numpy(np.asarray(tokens, np.int64)).view(-1, grid, grid)))

    def points(self, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Ids (b, 3 * j) -> points (b, j, 2) in pixels of the canvas, and whether they are seen (b, j)."""
        return decoded_coordinates(tokens.reshape(len(tokens), 3, -1), self.bins)

    def drawn(self, image: np.ndarray, tokens: np.ndarray) -> np.ndarray:
        """An image (h, w, 3) with the joints of ``tokens`` (3 * j,) over it; those that are not seen are grey."""
        (points,), (seen,) = self.points(tokens[None])
        picture = Image.fromarray(image)
        draw = ImageDraw.Draw(picture)
        for first, *others in self.lines:
            colour = _SEEN if seen[[first, *others]].all() else _HIDDEN
            draw.line([tuple(points[first]), tuple(points[others].mean(0))], fill=colour, width=2)
        for (x, y), there in zip(points, seen, strict=True):
            box = (x - _RADIUS, y - _RADIUS, x + _RADIUS, y + _RADIUS)
            draw.ellipse(box, fill=_JOINT if there else _HIDDEN)
        return np.asarray(picture)
