"""A small image tokenizer of our own: convolutions, finite scalar quantisation (Mentzer et al., 2023), convolutions."""

from dataclasses import dataclass
from itertools import pairwise
from math import prod
from pathlib import Path
from typing import ClassVar, Self

import torch
import vector_quantize_pytorch
from torch import Tensor, nn

from common.errors import UserError
from tokenizer.multimodal.canvas import SIDE
from training import checkpoint
from training.typed_config import from_mapping

KIND = "image_tokenizer"
_PATCH = 4
"""Pixels of a side that become channels before the first convolution."""


@dataclass(frozen=True)
class ImageTokenizerConfig:
    """Everything that determines the function of an image tokenizer."""

    levels: tuple[int, ...] = (8, 5, 5, 5)
    """of each digit of an id; their product is how many ids there are"""
    width: int = 64
    """channels at the coarsest resolution; halved at the finest"""
    blocks: int = 2
    """residual blocks at each resolution"""
    stride: int = 16
    """pixels of a side that one id stands for: 8, 16 or 32"""

    def __post_init__(self) -> None:
        if len(self.levels) == 0 or min(self.levels) < 2:
            raise UserError(f"levels is {list(self.levels)}; give at least one, of 2 or more")
        if self.stride not in (8, 16, 32):
            raise UserError(f"stride is {self.stride}; it must be 8, 16 or 32")
        if self.width < 16 or self.width % 16:
            raise UserError(f"width is {self.width}; it must be a multiple of 16")
        if self.blocks < 1:
            raise UserError(f"blocks is {self.blocks}; it must be at least 1")

    @property
    def halvings(self) -> int:
        """Of the resolution, after the patches."""
        return (self.stride // _PATCH).bit_length() - 1


class _Block(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.layers = nn.Sequential(
            nn.GroupNorm(8, width),
            nn.SiLU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(width, width, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)


class FsqImageTokenizer(nn.Module):
    """An ``ImageTokenizer`` that is trained here.

    >>> tokenizer = FsqImageTokenizer.load("checkpoints/images.safetensors")  # doctest: +SKIP
    >>> again = tokenizer.decode(tokenizer.encode(images))                    # doctest: +SKIP
    """

    kind: ClassVar[str] = KIND

    def __init__(self, config: ImageTokenizerConfig, name: str = "untrained"):
        super().__init__()
        self.config, self.name = config, name
        c = config
        widths = [c.width // 2, *[c.width] * c.halvings]
        pixels, digits = 3 * _PATCH**2, len(c.levels)
        down: list[nn.Module] = [nn.PixelUnshuffle(_PATCH), nn.Conv2d(pixels, widths[0], 3, padding=1)]
        for fine, coarse in pairwise(widths):
            down += [*self._blocks(fine), nn.Conv2d(fine, coarse, 4, 2, 1)]
        self.encoder = nn.Sequential(*down, *self._blocks(widths[-1]), nn.Conv2d(widths[-1], digits, 1))
        self.quantizer = vector_quantize_pytorch.FSQ(list(c.levels))
        up: list[nn.Module] = [nn.Conv2d(digits, widths[-1], 3, padding=1), *self._blocks(widths[-1])]
        for coarse, fine in pairwise(widths[::-1]):
            up += [nn.Upsample(scale_factor=2), nn.Conv2d(coarse, fine, 3, padding=1), *self._blocks(fine)]
        self.decoder = nn.Sequential(*up, nn.Conv2d(widths[0], pixels, 3, padding=1), nn.PixelShuffle(_PATCH))

    def _blocks(self, width: int) -> list[nn.Module]:
        return [_Block(width) for _ in range(self.config.blocks)]

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """The trained tokenizer of a checkpoint, frozen and in eval mode; CheckpointError for anything else."""
        found = checkpoint.read(path, KIND)
        config = from_mapping(ImageTokenizerConfig, found.config["model"], str(path))
        model = cls(config, f"{KIND} {found.digest}")
        checkpoint.load_weights(model, found)
        return model.requires_grad_(False).eval()

    @property
    def vocab_size(self) -> int:
        return prod(self.config.levels)

    @property
    def grid(self) -> int:
        return SIDE // self.config.stride

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(b, 3, h, w) -> the images after encoding and decoding, with a gradient, and their ids (b, grid, grid)."""
        z = self.encoder(images).movedim(1, -1)
        with torch.autocast(z.device.type, enabled=False):
            codes, ids = self.quantizer(z.float().flatten(1, 2))
        return self.decoder(codes.view(z.shape).movedim(-1, 1)), ids.long().view(z.shape[:3])

    @torch.no_grad()
    def encode(self, images: Tensor) -> Tensor:
        """(b, 3, 256, 256) in [-1, 1] -> ids (b, grid, grid) int64."""
        z = self.encoder(images.to(self.device)).movedim(1, -1)
        return self.quantizer(z.float().flatten(1, 2))[1].long().view(z.shape[:3])

    @torch.no_grad()
    def decode(self, ids: Tensor) -> Tensor:
        """Ids (b, grid, grid) -> (b, 3, 256, 256), about [-1, 1].

        Raises:
            UserError: these are no ids of this tokenizer.
        """
        if ids.numel() == 0 or int(ids.min()) < 0 or int(ids.max()) >= self.vocab_size:
            raise UserError(f"ids of this image tokenizer are 0 to {self.vocab_size - 1}; these are another one's")
        return self.decoder(
            self.quantizer.indices_to_codes(ids.to(self.device).flatten(1)).view(*ids.shape, -1).movedim(-1, 1)
        )

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device
