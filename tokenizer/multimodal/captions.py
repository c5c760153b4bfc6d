"""Captions: where they come from, and as tokens."""

from typing import Protocol

import numpy as np

from common.errors import UserError

LENGTH = 128
"""Tokens of a caption, its end included, by default."""
CAPTION_IDS = 258
"""The 256 bytes, the end, and padding."""
_END, _PADDING = 256, 257


def caption_tokens(text: str, length: int = LENGTH, where: str = "") -> np.ndarray:
    """The bytes (UTF-8) of a caption, its end, and padding: (length,) int64. No vocabulary has to be had or learned.

    >>> caption_tokens("hi", 5).tolist()
    [104, 105, 256, 257, 257]

    Raises:
        UserError: it is longer, or empty.
    """
    data = text.strip().encode()
    at = f"{where}: " if where else ""
    if not data:
        raise UserError(f"{at}the caption is empty; say what is seen, or leave captions out (--without captions)")
    if len(data) >= length:
        raise UserError(
            f"{at}a caption of {len(data)} bytes has no place in {length} tokens; shorten it: {text[:40]!r}..."
        )
    tokens = np.full(length, _PADDING)
    tokens[: len(data)] = np.frombuffer(data, np.uint8)
    tokens[len(data)] = _END
    return tokens


def caption_text(tokens: np.ndarray) -> str:
    """The caption that tokens (length,) say, up to its end; what is no text becomes a replacement character.

    >>> caption_text(caption_tokens("hi", 5))
    'hi'
    """
    ends = np.flatnonzero(tokens >= _END)
    return bytes(tokens[: ends[0] if len(ends) else None].tolist()).decode(errors="replace")


class Captioner(Protocol):
    """Says what is in an image."""

    name: str

    def __call__(self, image: np.ndarray) -> str:
        """(h, w, 3) uint8 -> one sentence."""
        ...


class Blip:
    """BLIP (Li et al., 2022) through ``transformers``; greedy, 30 tokens at most."""

    name = "Salesforce/blip-image-captioning-base"

    def __init__(self, device: str = "cpu") -> None:
        try:
            from transformers import BlipForConditionalGeneration, BlipProcessor
        except ImportError:
            raise UserError(
                "captions by BLIP need transformers; run 'pip install transformers', or put captions beside the "
                "videos, or leave them out (--without captions)"
            ) from None
        try:
            self._processor = BlipProcessor.from_pretrained(self.name)
            self._model = BlipForConditionalGeneration.from_pretrained(self.name).to(device).eval()
        except OSError as error:
            raise UserError(f"{self.name} cannot be loaded ({str(error).splitlines()[0]})") from None
        self._device = device

    def __call__(self, image: np.ndarray) -> str:
        import torch

        inputs = self._processor(images=image, return_tensors="pt").to(self._device)
        with torch.no_grad():
            found = self._model.generate(**inputs, max_length=30)
        return self._processor.decode(found[0], skip_special_tokens=True)
