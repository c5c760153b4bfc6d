"""Which frames of a video become pairs: each kept frame and the first later one that looks different."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from tokenizer.multimodal.similarity import grey, ssim

THRESHOLD = 0.89
"""Frames that are less alike than this (SSIM of the grey images) are different."""


class FramePair(NamedTuple):
    """Numbers of the frames of one video that belong together, and how alike they are."""

    reference: int
    successor: int
    ssim: float


def frame_pairs(frames: Iterable[np.ndarray], threshold: float = THRESHOLD) -> Iterator[FramePair]:
    """The pairs of a video's ``frames`` (h, w, 3) uint8, in order.

    The first frame is the first reference. The first later frame that is different from it is its successor, and the
    next reference; so a video of T frames has between none and T - 1 pairs, which form a chain.

    Raises:
        UserError: the frames differ in size, or are smaller than 7 pixels on a side.
    """
    reference, seen = 0, None
    for number, frame in enumerate(frames):
        image = grey(frame)
        if seen is None:
            seen = image
        elif (similarity := ssim(seen, image)) < threshold:
            yield FramePair(reference, number, similarity)
            reference, seen = number, image
