"""Text encoders: instructions -> one feature vector (b, 512) each."""

import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from common.errors import UserError
from policy.interface import Text
from policy.known_instructions import TEXT_DIM, KnownInstructions
from tokenizer.transformer import EncoderBlock


@dataclass(frozen=True)
class TextConfig:
    """``words`` trains with its model; ``preprocessed`` takes stored embeddings (b, 512) instead of instructions."""

    name: Literal["words", "preprocessed"] = "preprocessed"
    buckets: int = 2048
    width: int = 128
    num_heads: int = 4
    max_words: int = 32


def hash_words(texts: Sequence[str], buckets: int, max_words: int) -> Tensor:
    """(b, max_words) int64: lower-cased words hashed into 1..buckets, 0 where there is none.

    >>> hash_words(["Open the drawer"], 2048, 4)
    tensor([[ 933, 1511, 1538,    0]])
    """
    ids = torch.zeros(len(texts), max_words, dtype=torch.long)
    for row, text in zip(ids, texts, strict=True):
        words = re.findall(r"[a-z0-9]+", text.lower())[:max_words]
        row[: len(words)] = torch.tensor([zlib.crc32(word.encode()) % buckets + 1 for word in words])
    return ids


class WordsEncoder(nn.Module):
    """Hashed words, one transformer layer, masked mean: no vocabulary file, nothing to download."""

    def __init__(self, config: TextConfig):
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.buckets + 1, config.width, padding_idx=0)
        self.positions = nn.Parameter(torch.randn(config.max_words, config.width) * 0.02)
        self.block = EncoderBlock(config.width, config.num_heads, dropout=0.0, bias=False)
        self.norm = nn.LayerNorm(config.width, bias=False)
        self.project = nn.Linear(config.width, TEXT_DIM)

    def prepare(self, text: Text) -> Tensor:
        """Instructions -> what ``forward`` takes."""
        if not isinstance(text, Sequence) or not all(isinstance(instruction, str) for instruction in text):
            raise UserError("this policy takes instructions as a list of strings, one for each sample")
        return hash_words(text, self.config.buckets, self.config.max_words)

    def forward(self, ids: Tensor) -> Tensor:
        """(b, words) -> (b, 512); what a batch says more than once is computed once."""
        ids, which = ids.unique(dim=0, return_inverse=True)
        ids = ids[:, : max(1, int((ids != 0).sum(1).max()))]
        present = (ids != 0).unsqueeze(-1)
        x = self.embedding(ids) + self.positions[: ids.shape[1]]
        # padding is hidden from the words; an instruction without words attends to its padding instead of to nothing
        mask = (present | ~present.any(1, keepdim=True)).transpose(1, 2).unsqueeze(1)  # (b, 1, 1, words)
        x = self.norm(self.block(x, mask)) * present
        return self.project(x.sum(1) / present.sum(1).clamp(min=1))[which]


class PreprocessedText(nn.Module):
    """Passes stored text embeddings on (published models store those of a frozen T5).

    Instructions that come as text are looked up among those that are ``known``.
    """

    def __init__(self) -> None:
        super().__init__()
        self.known = KnownInstructions({})

    def prepare(self, text: Text) -> Tensor:
        """Instructions, or their embeddings (b, 512) or (b, 1, 512), -> embeddings (b, 512)."""
        if not isinstance(text, np.ndarray):
            return self.known.embed(text)
        if text.shape[-1:] != (TEXT_DIM,):
            raise UserError(f"stored text embeddings must have shape (b, {TEXT_DIM}), not {text.shape}")
        return torch.from_numpy(text.astype(np.float32)).reshape(-1, TEXT_DIM)

    def forward(self, embeddings: Tensor) -> Tensor:
        return embeddings


def build_text_encoder(config: TextConfig) -> WordsEncoder | PreprocessedText:
    return WordsEncoder(config) if config.name == "words" else PreprocessedText()
