"""Clips of any length to codes and back: filled up to whole codes, in one piece, window by window, or sliding."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from tokenizer.joints.features import Columns, joints_of_width
from tokenizer.joints.model import JointTokenizer


def padded(features: np.ndarray, frames: int, still: Sequence[slice] = ()) -> np.ndarray:
    """The features (t, d) filled up to ``frames``: the last row repeated, its columns ``still`` with 0."""
    missing = frames - len(features)
    if missing <= 0:
        return features
    rest = np.repeat(features[-1:], missing, axis=0)
    for columns in still:
        rest[:, columns] = 0
    return np.concatenate([features, rest])


def columns_of(tokenizer: JointTokenizer) -> Columns:
    """What the columns of its features hold."""
    c, width = tokenizer.config.features, len(tokenizer.mean)
    return Columns.of(c, joints_of_width(c, width))


def encode_clip(tokenizer: JointTokenizer, features: np.ndarray) -> Tensor:
    """The codes (s,) or (s, layers) of a clip (t, d) in one piece.

    After its end it stands still up to a whole code, and for one code more: a frame lies between the codes around it,
    so without one behind it the last would be rebuilt as the mean of those before.
    """
    step = tokenizer.config.frames_per_code
    whole = padded(features, (-(-len(features) // step) + 1) * step, columns_of(tokenizer).stand_still)
    return tokenizer.encode(_tensor(tokenizer, whole)[None])[0]


def decode_clip(tokenizer: JointTokenizer, codes: Tensor, frames: int | None = None) -> np.ndarray:
    """The features (t, d) of codes (s,) or (s, layers), all of them or the first ``frames``."""
    return tokenizer.decode(codes[None])[0, :frames].cpu().numpy()


def encode_windows(tokenizer: JointTokenizer, features: np.ndarray) -> Tensor:
    """The codes of a clip cut into windows that know nothing of each other, as it is trained: (windows, s, ...).

    The last window is filled up with its last row.
    """
    size = tokenizer.config.window_size
    whole = padded(features, -(-len(features) // size) * size)
    return tokenizer.encode(_tensor(tokenizer, whole).view(-1, size, features.shape[1]))


def decode_windows(tokenizer: JointTokenizer, codes: Tensor, frames: int) -> np.ndarray:
    """The inverse of ``encode_windows``: features (frames, d)."""
    return tokenizer.decode(codes).flatten(0, 1)[:frames].cpu().numpy()


class SlidingCodes(NamedTuple):
    """Codes (w, s, ...) of every window of some clips, and which clip and frame (w, 2) each begins with."""

    codes: Tensor
    starts: Tensor


def sliding_codes(tokenizer: JointTokenizer, clips: Sequence[np.ndarray]) -> SlidingCodes:
    """Of the windows at each frame of each clip (t, d); a clip shorter than a window has none."""
    size = tokenizer.config.window_size
    layers = (tokenizer.config.quantizer_layers,) if tokenizer.config.quantizer == "residual" else ()
    codes = [torch.zeros((0, size // tokenizer.config.frames_per_code, *layers), dtype=torch.int64)]
    starts = [torch.zeros((0, 2), dtype=torch.int64)]
    for number, clip in enumerate(clips):
        if len(clip) >= size:
            windows = _tensor(tokenizer, clip).unfold(0, size, 1).transpose(1, 2)
            codes.append(tokenizer.encode(windows).cpu())
            begins = torch.arange(len(windows))
            starts.append(torch.stack([torch.full_like(begins, number), begins], 1))
    return SlidingCodes(torch.cat(codes), torch.cat(starts))


def block(tokenizer: JointTokenizer, code: int, repeats: int = 1) -> np.ndarray:
    """What one code means: the features (repeats * frames_per_code, d) that it gives among its like."""
    c = tokenizer.config
    count = max(c.window_size, repeats)
    layers = (c.quantizer_layers,) if c.quantizer == "residual" else ()
    codes = torch.full((count, *layers), code, device=tokenizer.mean.device)
    return decode_clip(tokenizer, codes, repeats * c.frames_per_code)


def counts_of(tokenizer: JointTokenizer, codes: Tensor) -> Tensor:
    """How often each code is in (..., s) or (..., s, layers): (codebook,), of all layers one after the other."""
    size = tokenizer.codebook_size
    if tokenizer.config.quantizer != "residual":
        return torch.bincount(codes.flatten(), minlength=size)
    layers = tokenizer.config.quantizer_layers
    own = codes + size * torch.arange(layers, device=codes.device)
    return torch.bincount(own.flatten(), minlength=layers * size)


def _tensor(tokenizer: JointTokenizer, features: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(features)).to(tokenizer.mean.device)
