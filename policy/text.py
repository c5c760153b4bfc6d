"""Text encoders: instructions -> one feature vector (b, 512) each."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from policy.interface import Text
from policy.known_instructions import TEXT_DIM, KnownInstructions
from policy.words import WordHashes
from tokenizer.transformer import EncoderBlock


@dataclass(frozen=True)
class TextConfig:
    """``words`` trains with its model; ``preprocessed`` takes stored embeddings (b, 512) instead of instructions."""

    name: Literal["words", "preprocessed"] = "preprocessed"
    buckets: int = 2048
    width: int = 128
    num_heads: int = 4
    max_words: int = 32


class WordsEncoder(nn.Module):
    """Hashed words, one transformer layer, masked mean: no vocabulary file, nothing to download."""

    def __init__(self, config: TextConfig):
        super().__init__()
        self.config, self.hashes = config, WordHashes(config.buckets, config.max_words)
        self.embedding = nn.Embedding(config.buckets + 1, config.width, padding_idx=0)
        self.positions = nn.Parameter(torch.randn(config.max_words, config.width) * 0.02)
        self.block = EncoderBlock(config.width, config.num_heads, dropout=0.0, bias=False)
        self.norm = nn.LayerNorm(config.width, bias=False)
        self.project = nn.Linear(config.width, TEXT_DIM)

    def prepare(self, text: Text) -> Tensor:
        """Instructions -> what ``forward`` takes."""
        return torch.from_numpy(self.hashes.prepare(text))

    def forward(self, ids: Tensor) -> Tensor:
        """(b, words) -> (b, 512); what a batch says more than once is computed once."""
        ids, which = ids.unique(dim=0, return_inverse=True)
        return self.encode(ids[:, : max(1, int((ids != 0).sum(1).max()))])[which]

    def encode(self, ids: Tensor) -> Tensor:
        """As ``forward``, of instructions that all differ, padded with no more than is needed."""
        present = (ids != 0).unsqueeze(-1)
        x = self.embedding(ids) + self.positions[: ids.shape[1]]
        # padding is hidden from the words; an instruction without words attends to its padding instead of to nothing
        mask = (present | ~present.any(1, keepdim=True)).transpose(1, 2).unsqueeze(1)  # (b, 1, 1, words)
        x = self.norm(self.block(x, mask.expand(-1, -1, ids.shape[1], -1))) * present
        return self.project(x.sum(1) / present.sum(1).clamp(min=1))


class PreprocessedText(nn.Module):
    """Passes stored text embeddings on (published models store those of a frozen T5).

    Instructions that come as text are looked up among those that are ``known``.
    """

    def __init__(self) -> None:
        super().__init__()
        self.known = KnownInstructions({})

    def prepare(self, text: Text) -> Tensor:
        """Instructions, or their embeddings (b, 512) or (b, 1, 512), -> embeddings (b, 512)."""
        return torch.from_numpy(self.known.prepare(text))

    def forward(self, embeddings: Tensor) -> Tensor:
        return embeddings


def build_text_encoder(config: TextConfig) -> WordsEncoder | PreprocessedText:
    return WordsEncoder(config) if config.name == "words" else PreprocessedText()
