"""Encoding and decoding body motion as it comes, in pieces of any length; the same as the whole motion at once."""

import torch
from torch import Tensor

from common.errors import UserError
from tokenizer.body.features import BodyTensors, features_of
from tokenizer.body.model import BodyTokenizer
from tokenizer.body.network import Stream


class FeatureStream:
    """Features of a body's poses as they come: the changes need the pose before."""

    def __init__(self) -> None:
        self._last: BodyTensors | None = None

    def push(self, body: BodyTensors) -> Tensor:
        """Poses (b, t, ...) that follow the last ones -> features (b, t, d)."""
        pieces = vars(body)
        before = self._last
        self._last = BodyTensors(**{name: x[:, -1:] for name, x in pieces.items()})
        if before is None:
            return features_of(body)
        joined = BodyTensors(**{name: torch.cat([getattr(before, name), x], 1) for name, x in pieces.items()})
        return features_of(joined)[:, 1:]


class BodyStream:
    """One motion, or a batch of equally long ones, encoded and decoded with nothing but what is needed kept.

    >>> stream = BodyStream(BodyTokenizer.load("checkpoints/body.safetensors"))  # doctest: +SKIP
    >>> for frame in features.unbind(1):                                         # doctest: +SKIP
    ...     vectors = stream.encode(frame[:, None])  # (b, 1, z) with frames 0, 4, 8, ..., else (b, 0, z)
    ...     motion = stream.decode(vectors)          # (b, 4, d): the present frame, and the next three foretold

    With ``look_ahead`` vectors come with frames 3, 7, 11, ..., and the four frames are those that have been.

    Raises:
        UserError: the tokenizer is in the published mode, which sees the whole motion.
    """

    def __init__(self, tokenizer: BodyTokenizer):
        if tokenizer.config.mode != "causal":
            raise UserError("a Motion VAE of mode=published sees the whole motion, so it cannot encode it as it comes")
        self._vae = tokenizer.vae
        self._encoding, self._decoding = Stream(), Stream()

    @torch.no_grad()
    def encode(self, motion: Tensor) -> Tensor:
        """Features (b, t, d) that follow the last ones -> the vectors (b, n, z) that they complete."""
        return self._vae.encode(motion, self._encoding).mean

    @torch.no_grad()
    def decode(self, vectors: Tensor) -> Tensor:
        """Vectors (b, n, z) that follow the last ones -> features (b, 4 n, d)."""
        return self._vae.decode(vectors, self._decoding)
