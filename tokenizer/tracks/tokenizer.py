"""The track tokenizer behind the interface of all tokenizers."""

from pathlib import Path
from typing import ClassVar, Self

import torch
from torch import Tensor

from common.conventions import CONTROL_FREQUENCY
from common.errors import UserError
from tokenizer.tracks.model import MotionTokenizer


class TrackTokenizer:
    """A motion is the trajectories of points (b, v, t, n, 2), (row, col), 2 the height of the image.

    Where they start is not encoded: what is decoded starts at 0.
    """

    kind: ClassVar[str] = "motion_tokenizer"

    def __init__(self, model: MotionTokenizer):
        if model.config.cond_on_img:
            raise UserError("this tokenizer also encodes images (cond_on_img); motion alone has no codes")
        self.model = model.requires_grad_(False).eval()

    @classmethod
    def load(cls, path: str | Path) -> Self:
        return cls(MotionTokenizer.load(path))

    @property
    def codebook_size(self) -> int:
        return self.model.config.actual_codebook_size

    @property
    def latent_width(self) -> int:
        return self.model.config.hidden_dim

    @property
    def frame_rate(self) -> float:
        c = self.model.config
        return CONTROL_FREQUENCY * c.num_velocities / (c.true_horizon - 1)

    @property
    def rate(self) -> float:
        c = self.model.config
        return CONTROL_FREQUENCY * c.num_codes / (c.true_horizon - 1)

    def encode(self, motion: Tensor) -> Tensor:
        return self.model.tokenize(motion)

    def decode(self, codes: Tensor) -> Tensor:
        c = self.model.config
        return self.model.reconstruct(
            codes, torch.zeros(len(codes), len(c.views), 1, c.num_tracks, 2, device=codes.device)
        )
