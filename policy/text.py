"""Text encoders: instructions -> one feature vector (b, 512) each."""

from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from common.errors import UserError
from common.pretrained import read_config
from demos.t5 import PUBLISHED, T5Encoder, tokenizer_size
from policy.interface import Text
from policy.known_instructions import TEXT_DIM, KnownInstructions
from policy.words import WordHashes, sentences
from tokenizer.transformer import EncoderBlock


@dataclass(frozen=True)
class TextConfig:
    """``words`` trains with its model; ``preprocessed`` takes stored embeddings (b, 512) instead of instructions;
    ``t5`` is the frozen encoder that made those of the published models."""

    name: Literal["words", "preprocessed", "t5"] = "preprocessed"
    weights: str = PUBLISHED
    """t5, for training: a folder with config.json, tokenizer.json and weights, the file of weights in it, or a name
    on the hub"""
    architecture: dict[str, Any] | None = None
    """t5: its configuration in transformers' words; left out, it is read beside the weights, as is the next"""
    tokenizer_size: int = 0
    """t5: bytes of its tokenizer"""
    buckets: int = 2048
    """words, as the following"""
    width: int = 128
    num_heads: int = 4
    max_words: int = 32

    def resolved(self) -> "TextConfig":
        """With what its weights say of t5."""
        if self.name != "t5" or self.architecture is not None:
            return self
        architecture = read_config(self.weights, "t5")
        return replace(self, architecture=architecture, tokenizer_size=tokenizer_size(self.weights))


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


class T5Text(nn.Module):
    """A frozen T5; vectors of another width than 512 go through a Linear, which trains."""

    def __init__(self, config: TextConfig):
        super().__init__()
        if config.architecture is None:
            raise UserError("text_encoder.architecture has to describe the t5")
        self.t5 = T5Encoder(config.architecture, config.tokenizer_size)
        self.project = nn.Identity() if self.t5.width == TEXT_DIM else nn.Linear(self.t5.width, TEXT_DIM)

    def prepare(self, text: Text) -> Tensor:
        """Instructions -> tokens (b, 32)."""
        return self.t5.prepare(sentences(text))

    def forward(self, ids: Tensor) -> Tensor:
        """(b, 32) -> (b, 512); what a batch says more than once is computed once."""
        ids, which = ids.unique(dim=0, return_inverse=True)
        return self.project(self.t5(ids))[which]


TextEncoder = WordsEncoder | PreprocessedText | T5Text


def build_text_encoder(config: TextConfig) -> TextEncoder:
    """The encoder, with random weights."""
    if config.name == "t5":
        return T5Text(config)
    return WordsEncoder(config) if config.name == "words" else PreprocessedText()
