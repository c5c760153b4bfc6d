"""The wire format: messages with arrays in and out of ZeroMQ frames, msgpack only, never pickle (design.md section 7).

A message is plain data (dict, list, str, numbers, bytes) with numpy arrays anywhere inside. ``docs/wire.md`` has the
layout byte for byte. A receiver may read in two steps, ``parse`` and then ``unpack``, and look between them at who
asks: the first costs little whatever arrives. Every malformed message raises ``WireError``.
"""

from collections.abc import Sequence
from typing import Any

import msgpack
import numpy as np

from policy.remote import arrays
from policy.remote.arrays import DEFAULT_LIMITS, Body, Encoding, Limits, WireError

__all__ = ["DEFAULT_LIMITS", "VERSION", "Encoding", "Limits", "WireError", "decode", "encode", "parse", "unpack"]

VERSION = 1
"""Version of our own envelope; it travels as ``v`` in every request and reply that carries raw buffers."""


def encode(message: Any, encoding: Encoding = Encoding.RAW, jpeg_quality: int | None = None) -> list[bytes]:
    """The frames of ``message``: one, or for ``RAW`` with arrays two: header and body.

    With ``jpeg_quality`` (1 to 100, ``RAW`` only) uint8 arrays (..., h, w, 3) travel as JPEG. ``WireError`` for what
    cannot travel, and for more bytes than a receiver takes.
    """
    body = Body()

    def pack(value: Any) -> Any:
        if isinstance(value, np.ndarray):
            return arrays.pack(value, encoding, body, jpeg_quality)
        if isinstance(value, np.generic):
            return value.item()
        raise WireError(f"cannot send a {type(value).__name__}; send arrays, numbers, text, lists and dicts")

    try:
        header = msgpack.packb(message, default=pack)
    except WireError:
        raise
    except (TypeError, ValueError, OverflowError) as error:
        raise WireError(f"cannot encode the message: {error}") from None
    frames = [header, *body.frames()]
    size = sum(map(len, frames))
    if size > DEFAULT_LIMITS.message_bytes:
        raise WireError(
            f"the message has {size / (1 << 20):.1f} MiB, a receiver takes {DEFAULT_LIMITS.message_bytes >> 20} MiB; "
            "send fewer observations at once, smaller images, or JPEG (jpeg_quality)"
        )
    return frames


def parse(frames: Sequence[Any], limits: Limits = DEFAULT_LIMITS) -> Any:
    """The message in ``frames`` (bytes-like) as plain data, its arrays still packed.

    Lists and maps are counted while they are read, so that a small message cannot become a large one.
    """
    if not frames or len(frames) > limits.frames:
        raise WireError(f"a message has 1 to {limits.frames} frames, this one has {len(frames)}")
    size = sum(map(len, frames))
    if size > limits.message_bytes:
        raise WireError(f"the message has {size} bytes, at most {limits.message_bytes} are accepted")
    left = limits.items

    def count(container: Any) -> Any:
        nonlocal left
        left -= 1 + len(container)
        if left < 0:
            raise WireError(f"more than {limits.items} lists, maps and entries in them")
        return container

    try:
        return msgpack.unpackb(
            frames[0],
            object_hook=count,
            list_hook=count,
            max_str_len=limits.text_bytes,
            max_array_len=limits.items,
            max_map_len=limits.items,
            max_ext_len=0,
        )
    except WireError:
        raise
    except (ValueError, TypeError, msgpack.UnpackException, RecursionError) as error:
        raise WireError(f"not a msgpack message: {type(error).__name__} {error}") from None


def unpack(value: Any, frames: Sequence[Any], limits: Limits = DEFAULT_LIMITS) -> tuple[Any, Encoding | None]:
    """A part of what ``parse`` made of ``frames``, with its arrays, and their encoding (None when it has none).

    Arrays are read-only views of the frames.
    """
    unpacker = arrays.Unpacker(frames[1] if len(frames) == 2 else b"", limits)
    try:
        return unpacker.unpack(value), unpacker.found
    except WireError:
        raise
    except (ValueError, TypeError, OverflowError) as error:
        raise WireError(f"an array cannot be read: {type(error).__name__} {error}") from None


def decode(frames: Sequence[Any], limits: Limits = DEFAULT_LIMITS) -> tuple[Any, Encoding | None]:
    """The whole message in ``frames``: ``parse``, then ``unpack``. Raises ``WireError`` and nothing else."""
    return unpack(parse(frames, limits), frames, limits)
