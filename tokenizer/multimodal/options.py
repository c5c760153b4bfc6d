"""Everything the masked model can be told, under the names of the document's configuration; its defaults are in effect.

What makes no sense is refused when the options are read, not when training is under way.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from common.errors import UserError, require

Range = int | tuple[int, int]
IMAGE_IDS = 64_000
"""Ids of the Cosmos image tokenizer."""


@dataclass(frozen=True)
class MaskedModelConfig:
    """Everything that determines a masked model's function, and what it is trained to predict.

    Lists have an entry for each of ``modalities``.
    """

    modalities: tuple[str, ...] = ("tok_rgb", "coords", "tok_rgb_next", "coords_next")
    vocab_sizes: tuple[int, ...] = (65_536,) * 4
    """rows of the embedding table; not how many ids there are"""
    ids: tuple[int, ...] = (IMAGE_IDS, 8192, IMAGE_IDS, 8192)
    """ids that there are: others are refused in data and never generated"""
    flags: tuple[int, ...] = (0, 13, 0, 13)
    """how many of the last tokens say yes (1) or no (0), as those do of whether a joint is seen"""
    max_seq_lens: tuple[int, ...] = (256, 39, 256, 39)
    input_alphas: tuple[float, ...] = (1.0,) * 4
    """of the Dirichlet distribution that shares what is given out among the modalities; 0 shuts one out"""
    target_alphas: tuple[float, ...] = (1.0,) * 4
    input_tokens_range: Range = (32, 128)
    """tokens of a sample that are given, least and most"""
    target_tokens_range: Range = (32, 128)
    """tokens of a sample that are to be predicted"""
    overlap_vocab: bool = True
    """all modalities use the same rows of the table; false: each its own"""
    dim: int = 512
    enc_depth: int = 6
    dec_depth: int = 6
    head_dim: int = 64
    mlp_ratio: float = 4.0
    loss: Literal["modalities", "tokens"] = "modalities"
    """modalities: each counts the same; tokens: each token does"""

    def __post_init__(self) -> None:
        count = len(self.modalities)
        require(count > 0, "modalities is empty; name at least one")
        require(len(set(self.modalities)) == count, f"modalities {list(self.modalities)} names one twice")
        for name in ("vocab_sizes", "ids", "flags", "max_seq_lens", "input_alphas", "target_alphas"):
            entries = len(getattr(self, name))
            require(entries == count, f"{name} has {entries} entries, there are {count} modalities")
        for name in ("vocab_sizes", "ids", "max_seq_lens"):
            require(min(getattr(self, name)) > 0, f"{name} is {list(getattr(self, name))}; all must be at least 1")
        for modality, size, ids in zip(self.modalities, self.vocab_sizes, self.ids, strict=True):
            require(ids <= size, f"{modality} has {ids} ids, its vocab_sizes entry is only {size}")
        for modality, flags, length in zip(self.modalities, self.flags, self.max_seq_lens, strict=True):
            require(0 <= flags <= length, f"flags of {modality} is {flags}; it must be between 0 and {length}")
        for name in ("input_alphas", "target_alphas"):
            alphas = getattr(self, name)
            require(
                min(alphas) >= 0 < max(alphas), f"{name} is {list(alphas)}; none may be negative, one must not be 0"
            )
        for name in ("input_tokens_range", "target_tokens_range"):
            least, most = bounds(getattr(self, name))
            require(0 < least <= most, f"{name} is [{least}, {most}]; it must be least and most, from 1 on")
        for name in ("dim", "enc_depth", "dec_depth", "head_dim", "mlp_ratio"):
            require(getattr(self, name) > 0, f"{name} is {getattr(self, name)}; it must be above 0")
        require(self.dim % self.head_dim == 0, f"dim is {self.dim}; it must be a multiple of head_dim {self.head_dim}")
        require(self.dim % 2 == 0, f"dim is {self.dim}; it must be even")

    @property
    def vocab_size(self) -> int:
        """Rows of the embedding table."""
        return max(self.vocab_sizes) if self.overlap_vocab else sum(self.vocab_sizes)

    def index(self, modality: str) -> int:
        """The number of a modality.

        Raises:
            UserError: this model does not know it.
        """
        require(
            modality in self.modalities,
            f"there is no modality {modality!r}; this model has {', '.join(self.modalities)}",
        )
        return self.modalities.index(modality)

    def offset(self, modality: int) -> int:
        """What is added to the ids of a modality, given by its number, where each has rows of its own."""
        return 0 if self.overlap_vocab else sum(self.vocab_sizes[:modality])

    def limits(self, modality: int) -> np.ndarray:
        """(length,) how many ids there are at each position of a modality, given by its number."""
        limits = np.full(self.max_seq_lens[modality], self.ids[modality])
        limits[len(limits) - self.flags[modality] :] = min(2, self.ids[modality])
        return limits

    def check(self, modality: str, tokens: np.ndarray, where: str = "") -> np.ndarray:
        """``tokens`` (..., length) as they are.

        Raises:
            UserError: they are not as many, or one is no id of this modality; ``where`` names the file.
        """
        number, at = self.index(modality), f"{where}: " if where else ""
        length, limits = self.max_seq_lens[number], self.limits(number)
        require(tokens.shape[-1] == length, f"{at}{tokens.shape[-1]} tokens of {modality}, this model takes {length}")
        wrong = (tokens < 0) | (tokens >= limits)
        if wrong.any():
            place = np.argwhere(wrong)[0]
            found, position = tokens[tuple(place)], place[-1]
            raise UserError(
                f"{at}{modality} has {found} at position {position}, where ids are 0 to {limits[position] - 1}"
            )
        return tokens


def bounds(tokens: Range) -> tuple[int, int]:
    """Least and most of a range, which may be given as one number."""
    return (tokens, tokens) if isinstance(tokens, int) else tokens
