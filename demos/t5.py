"""T5's encoder (Raffel et al., 2020) through ``transformers``: an instruction -> one vector, as AMPLIFY takes it.

Instructions are cut, or filled up, to 32 tokens; the vector is what the first of them has become. The tokenizer is kept
among the weights, so that whoever has these needs nothing else.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from common.errors import UserError
from common.pretrained import find_beside, find_weights, read_config, read_weights
from common.transformers_models import from_weights, transformers

if TYPE_CHECKING:
    from tokenizers import Tokenizer

MAX_TOKENS = 32
PUBLISHED = "t5-small"
"""On the hub: the one that AMPLIFY uses, with 512 numbers a vector."""


class T5Encoder(nn.Module):
    """Frozen. ``architecture`` is T5's configuration, as ``config.json`` has it; ``tokenizer_size`` the bytes of its
    ``tokenizer.json``."""

    tokenizer_json: Tensor

    def __init__(self, architecture: Mapping[str, Any], tokenizer_size: int):
        super().__init__()
        library = transformers("T5")
        config = library.T5Config.from_dict(dict(architecture))
        self.width: int = config.d_model
        self.model = library.T5EncoderModel(config).encoder
        self.register_buffer("tokenizer_json", torch.zeros(tokenizer_size, dtype=torch.uint8))
        self.requires_grad_(False).eval()

    @classmethod
    def pretrained(cls, source: str = PUBLISHED) -> "T5Encoder":
        """With the weights of ``source``: a file with ``config.json`` and ``tokenizer.json`` beside it, a folder of
        these, or a name on the hub.

        Raises:
            UserError: one of them is missing, damaged, or not T5's; ``transformers`` is not installed.
        """
        encoder = cls(read_config(source, "t5"), tokenizer_size(source))
        encoder.load_pretrained(source)
        return encoder

    def load_pretrained(self, source: str) -> None:
        """Takes weights and tokenizer of ``source``, see ``pretrained``."""
        library, path = transformers("T5"), find_weights(source)
        model = from_weights(library.T5EncoderModel, self.model.config, read_weights(path), path)
        self.model.load_state_dict(model.encoder.state_dict())
        text = find_beside(source, "tokenizer.json").read_bytes()
        self.tokenizer_json.copy_(torch.frombuffer(bytearray(text), dtype=torch.uint8))
        self.__dict__.pop("_tokenizer", None)

    @cached_property
    def _tokenizer(self) -> "Tokenizer":
        from tokenizers import Tokenizer

        try:
            tokenizer = Tokenizer.from_str(bytes(self.tokenizer_json.cpu().numpy()).decode())
        except Exception as error:  # the library raises nothing narrower
            raise UserError(f"the tokenizer.json of this T5 is damaged ({error}); get it again") from None
        tokenizer.enable_truncation(MAX_TOKENS)
        tokenizer.enable_padding(length=MAX_TOKENS)
        return tokenizer

    def prepare(self, texts: Sequence[str]) -> Tensor:
        """Instructions -> tokens (b, 32) int64, 0 where there is none."""
        return torch.tensor([tokens.ids for tokens in self._tokenizer.encode_batch(list(texts))], dtype=torch.long)

    def forward(self, ids: Tensor) -> Tensor:
        """(b, 32) -> (b, width)"""
        return self.model(input_ids=ids, attention_mask=ids != 0).last_hidden_state[:, 0]

    def train(self, mode: bool = True) -> "T5Encoder":
        """Stays in eval mode, frozen as it is."""
        return super().train(False)


def tokenizer_size(source: str) -> int:
    """Bytes of the tokenizer of ``source``."""
    return find_beside(source, "tokenizer.json").stat().st_size
