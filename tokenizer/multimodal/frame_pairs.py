"""Which frames of a video become pairs: each kept frame and the first later one that looks different."""

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from tokenizer.multimodal.similarity import grey, ssim

THRESHOLD = 0.89
"""Frames that are less alike than this (SSIM of the grey images) are different."""


class Kept(NamedTuple):
    """A frame (h, w, 3) that looks different from the one kept before it, its number, and how alike they are."""

    number: int
    frame: np.ndarray
    ssim: float


class FramePair(NamedTuple):
    """Numbers of the frames of one video that belong together, and how alike they are."""

    reference: int
    successor: int
    ssim: float


def distinct_frames(frames: Iterable[np.ndarray], threshold: float = THRESHOLD) -> Iterator[Kept]:
    """The first of a video's ``frames`` (h, w, 3) uint8, and then always the first that looks different.

    Raises:
        UserError: the frames differ in size, or are smaller than 7 pixels on a side.
    """
    last: np.ndarray | None = None
    for number, frame in enumerate(frames):
        image = grey(frame)
        similarity = 0.0 if last is None else ssim(last, image)
        if last is None or similarity < threshold:
            yield Kept(number, frame, similarity)
            last = image


def frame_pairs(frames: Iterable[np.ndarray], threshold: float = THRESHOLD) -> Iterator[FramePair]:
    """The pairs of a video: each distinct frame and the next.

    So the successor of one pair is the reference of the following, and T frames have between none and T - 1 pairs.
    """
    for reference, successor in pairwise(distinct_frames(frames, threshold)):
        yield FramePair(reference.number, successor.number, successor.ssim)
