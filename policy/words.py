"""Instructions as numbers of words: no vocabulary file, nothing to download."""

import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from common.errors import UserError
from policy.interface import Text


def sentences(text: Text) -> Sequence[str]:
    """``text``, which has to be a list of instructions; UserError where it is none."""
    if not isinstance(text, Sequence) or not all(isinstance(instruction, str) for instruction in text):
        raise UserError("this policy takes instructions as a list of strings, one for each sample")
    return text


@dataclass(frozen=True)
class WordHashes:
    """Lower-cased words hashed into 1..buckets, 0 where there is none.

    >>> WordHashes(2048, 4).prepare(["Open the drawer"])
    array([[ 933, 1511, 1538,    0]])
    """

    buckets: int
    max_words: int

    def prepare(self, text: Text) -> NDArray[np.int64]:
        """b instructions -> (b, max_words); UserError for what is no list of instructions."""
        text = sentences(text)
        ids = np.zeros((len(text), self.max_words), np.int64)
        for row, instruction in zip(ids, text, strict=True):
            words = re.findall(r"[a-z0-9]+", instruction.lower())[: self.max_words]
            row[: len(words)] = [zlib.crc32(word.encode()) % self.buckets + 1 for word in words]
        return ids
