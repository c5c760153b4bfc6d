"""The instructions whose embeddings a policy carries, and what it says about others."""

import difflib
import logging
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from common.errors import UserError
from policy.interface import Text

log = logging.getLogger(__name__)

TEXT_DIM = 512
"""Width of an instruction's features."""


class KnownInstructions:
    """Embeddings (512,) float32 by instruction; letter case, underscores and spacing make no difference.

    Without a single one every instruction becomes zeros, with a warning: such a policy cannot tell them apart.
    """

    def __init__(self, embeddings: Mapping[str, ArrayLike]):
        self.embeddings: dict[str, NDArray[np.float32]] = {}
        self._texts: dict[str, str] = {}
        self._warned = False
        self.add(embeddings)

    def add(self, embeddings: Mapping[str, ArrayLike]) -> None:
        """Knows these as well; UserError for one of another width."""
        for text, given in embeddings.items():
            embedding = np.asarray(given, np.float32)
            if embedding.shape != (TEXT_DIM,):
                raise UserError(f"the embedding of {text!r} has shape {embedding.shape}, not ({TEXT_DIM},)")
            self.embeddings[text] = embedding
            self._texts[_plain(text)] = text

    def prepare(self, text: Text) -> NDArray[np.float32]:
        """Instructions, or their embeddings (b, 512) or (b, 1, 512), -> embeddings (b, 512)."""
        if not isinstance(text, np.ndarray):
            return self.embed(text)
        if text.shape[-1:] != (TEXT_DIM,):
            raise UserError(f"stored text embeddings must have shape (b, {TEXT_DIM}), not {text.shape}")
        return text.astype(np.float32).reshape(-1, TEXT_DIM)

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """(b, 512); raises UserError for an instruction without an embedding, naming the nearest ones."""
        if not self.embeddings:
            if not self._warned:
                log.warning(
                    "this policy carries no embeddings of instructions: it is given zeros for every one and cannot "
                    "tell them apart; import it again with --text-embeddings DIR"
                )
                self._warned = True
            return np.zeros((len(texts), TEXT_DIM), np.float32)
        return np.stack([self.embeddings[self._known(text)] for text in texts])

    def _known(self, text: str) -> str:
        plain = _plain(text)
        if plain not in self._texts:
            nearest = difflib.get_close_matches(plain, self._texts, n=3, cutoff=0)
            raise UserError(
                f"this policy has no embedding of the instruction {text!r}; of the {len(self._texts)} it knows the "
                f"nearest are {', '.join(repr(self._texts[name]) for name in nearest)}"
            )
        return self._texts[plain]


def _plain(text: str) -> str:
    return " ".join(text.casefold().replace("_", " ").split())
