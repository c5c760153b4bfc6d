"""The wire format: messages with arrays in and out of ZeroMQ frames, msgpack only, never pickle (design.md section 7).

A message is plain data (dict, list, str, numbers, bytes) with numpy arrays anywhere inside. ``docs/wire.md`` has the
layout byte for byte. Whatever the bytes claim is checked against what has arrived before anything is allocated, and
every malformed message raises ``WireError``.
"""

import json
import math
import re
import reprlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

import msgpack
import numpy as np

VERSION = 1
"""Version of our own envelope; it travels as ``v`` in every request and reply that carries raw buffers."""


class WireError(ValueError):
    """A message that cannot be decoded or encoded; the text says which part and why."""


class Encoding(Enum):
    """How arrays travel. A reply uses the encoding of its request."""

    RAW = "raw"
    """Ours: all arrays' bytes in a second frame, each described by ``{"__buffer__": offset, "dtype", "shape"}``."""
    NPY = "npy"
    """Isaac-GR00T: ``{"__ndarray_class__": True, "as_npy": npy bytes}``."""
    NUMPY = "msgpack-numpy"
    """msgpack-numpy with text keys: ``{"nd": True, "type", "kind", "shape", "data"}``."""
    NUMPY_BYTES = "msgpack-numpy-bytes"
    """The same with byte keys, as the msgpack-numpy package itself writes them."""


@dataclass(frozen=True)
class Limits:
    """What a receiver accepts at most. A bigger claim is an error, not an allocation."""

    message_bytes: int = 64 << 20
    frames: int = 2
    images: int = 64
    """JPEG images of one array."""
    dims: int = 8
    text_bytes: int = 1 << 16
    items: int = 1024
    """Entries of one list or map; arrays are not lists, so real messages stay far below."""


DEFAULT_LIMITS = Limits()

_DTYPES = {
    name: np.dtype(name)
    for kind, sizes in (("i", "1248"), ("u", "1248"), ("f", "248"), ("b", "1"))
    for size in sizes
    for order in "<>|="
    for name in (f"{order}{kind}{size}",)
}
_NPY_HEADER = re.compile(
    rb"\{'descr': '([<>|=][biuf][1248])', 'fortran_order': (True|False), 'shape': \(([0-9, ]*)\),? *\}\s*"
)


class _Body:
    """The second frame of a ``RAW`` message while it is put together; every array starts at a multiple of 64 bytes."""

    def __init__(self) -> None:
        self._parts: list[Any] = []
        self._size = 0

    def append(self, data: Any, size: int) -> int:
        """Adds ``size`` bytes of ``data`` and returns their offset."""
        padding = -self._size % 64
        if padding:
            self._parts.append(bytes(padding))
        offset = self._size + padding
        self._parts.append(data)
        self._size = offset + size
        return offset

    def frames(self) -> list[bytes]:
        """The frame, if there is anything in it."""
        return [b"".join(self._parts)] if self._parts else []


def encode(message: Any, encoding: Encoding = Encoding.RAW, jpeg_quality: int | None = None) -> list[bytes]:
    """The frames of ``message``: one, or for ``RAW`` with arrays two: header and body.

    With ``jpeg_quality`` (1 to 100, ``RAW`` only) uint8 arrays (..., h, w, 3) travel as JPEG.
    """
    body = _Body()

    def pack(value: Any) -> Any:
        if isinstance(value, np.generic):
            return value.item()
        if not isinstance(value, np.ndarray):
            raise WireError(f"cannot send a {type(value).__name__}; send arrays, numbers, text, lists and dicts")
        if value.dtype.str not in _DTYPES:
            raise WireError(f"cannot send an array of {value.dtype}; send numbers or booleans")
        if encoding is Encoding.RAW:
            if jpeg_quality is not None and value.dtype == np.uint8 and value.ndim >= 3 and value.shape[-1] == 3:
                return _pack_jpeg(value, body, jpeg_quality)
            offset = body.append(np.ascontiguousarray(value), value.nbytes)
            return {"__buffer__": offset, "dtype": value.dtype.str, "shape": value.shape}
        if encoding is Encoding.NPY:
            return {"__ndarray_class__": True, "as_npy": _npy_bytes(value)}
        fields = {"nd": True, "type": value.dtype.str, "kind": "", "shape": value.shape, "data": value.tobytes()}
        if encoding is Encoding.NUMPY:
            return fields
        return {key.encode(): b"" if key == "kind" else field for key, field in fields.items()}

    try:
        header = msgpack.packb(message, default=pack)
    except WireError:
        raise
    except (TypeError, ValueError, OverflowError) as error:
        raise WireError(f"cannot encode the message: {error}") from None
    return [header, *body.frames()]


def decode(frames: Sequence[Any], limits: Limits = DEFAULT_LIMITS) -> tuple[Any, Encoding | None]:
    """The message in ``frames`` (bytes-like) and the encoding of its arrays (None when it has none).

    Arrays are read-only views of the frames. Raises ``WireError`` and nothing else.
    """
    if not frames or len(frames) > limits.frames:
        raise WireError(f"a message has 1 to {limits.frames} frames, this one has {len(frames)}")
    total = sum(map(len, frames))
    if total > limits.message_bytes:
        raise WireError(f"the message has {total} bytes, at most {limits.message_bytes} are accepted")
    body = frames[1] if len(frames) == 2 else b""
    found: Encoding | None = None

    def unpack(fields: dict) -> Any:
        nonlocal found
        if "__buffer__" in fields:
            found = Encoding.RAW
            return _array(body, fields.get("dtype"), fields.get("shape"), limits, fields["__buffer__"])
        if "as_npy" in fields:
            found = Encoding.NPY
            return _from_npy(fields["as_npy"], limits)
        if "nd" in fields or b"nd" in fields:
            as_text = "nd" in fields
            found = Encoding.NUMPY if as_text else Encoding.NUMPY_BYTES
            return _from_msgpack_numpy(fields if as_text else _text_keys(fields), limits)
        if "__jpeg__" in fields:
            found = Encoding.RAW
            return _from_jpeg(body, fields, limits)
        if "as_json" in fields:
            return _from_json(fields["as_json"])
        return fields

    try:
        message = msgpack.unpackb(
            frames[0],
            object_hook=unpack,
            max_str_len=limits.text_bytes,
            max_array_len=limits.items,
            max_map_len=limits.items,
            max_ext_len=0,
        )
    except WireError:
        raise
    except (ValueError, TypeError, msgpack.UnpackException, RecursionError) as error:
        raise WireError(f"not a msgpack message: {type(error).__name__} {error}") from None
    return message, found


def _array(data: Any, dtype: Any, shape: Any, limits: Limits, offset: Any = None) -> np.ndarray:
    """A view of ``data`` as an array, once dtype, shape and number of bytes are known to agree.

    Without an ``offset`` the array is all of ``data``; with one, it begins there and must end inside.
    """
    known = _DTYPES.get(dtype) if isinstance(dtype, str) else None
    if known is None:
        raise WireError(f"an array's dtype must be a number type such as '<f4', not {_short(dtype)}")
    if type(shape) is not list or len(shape) > limits.dims or not all(type(n) is int and n >= 0 for n in shape):
        raise WireError(f"an array's shape must be a list of at most {limits.dims} sizes, not {_short(shape)}")
    if not isinstance(data, bytes | bytearray | memoryview):
        raise WireError(f"an array's data must be bytes, not {type(data).__name__}")
    count = math.prod(shape)
    size = count * known.itemsize
    if offset is None:
        start, fits = 0, size == len(data)
    else:
        start = _offset(offset)
        fits = start + size <= len(data)
    if not fits:
        raise WireError(f"an array claims {size} bytes ({dtype} {_short(shape)}) and brings {len(data) - start}")
    return np.frombuffer(data, known, count, start).reshape(shape) if count else np.empty(shape, known)


def _offset(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise WireError(f"a place in the second frame must be a number of bytes, not {_short(value)}")
    return value


def _npy_bytes(array: np.ndarray) -> bytes:
    """The npy format, version 1.0 (numpy.lib.format), padded so that the data starts at a multiple of 64."""
    shape = f"({', '.join(map(str, array.shape))}{',' if array.ndim == 1 else ''})"
    header = f"{{'descr': '{array.dtype.str}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + array.tobytes()


def _from_npy(data: Any, limits: Limits) -> np.ndarray:
    """Reads npy bytes without numpy's own reader, which allocates what the header claims before it has the bytes."""
    if not isinstance(data, bytes) or data[:6] != b"\x93NUMPY" or data[6:7] not in (b"\x01", b"\x02", b"\x03"):
        raise WireError("as_npy must be the bytes of an npy file")
    width = 2 if data[6] == 1 else 4
    start = 8 + width + int.from_bytes(data[8 : 8 + width], "little")
    header = _NPY_HEADER.fullmatch(data[8 + width : start]) if start <= min(len(data), 4096) else None
    if header is None:
        raise WireError("as_npy has a header that is not that of a plain array of numbers (object arrays are refused)")
    dtype, fortran_order, sizes = header.groups()
    shape = [int(size) for size in sizes.split(b",") if size.strip()] if len(sizes) <= 200 else None
    if fortran_order == b"True":
        transposed = shape[::-1] if shape is not None else None
        return _array(memoryview(data)[start:], dtype.decode(), transposed, limits).T
    return _array(memoryview(data)[start:], dtype.decode(), shape, limits)


def _text_keys(fields: dict) -> dict:
    return {key.decode("ascii", "replace"): value for key, value in fields.items() if isinstance(key, bytes)}


def _from_msgpack_numpy(fields: dict, limits: Limits) -> Any:
    dtype = fields.get("type")
    if isinstance(dtype, bytes):
        dtype = dtype.decode("ascii", "replace")
    if fields.get("kind") not in ("", b"", None):
        raise WireError("structured and object arrays are refused (msgpack-numpy kind must be empty)")
    if fields["nd"] is False:  # a numpy scalar
        return _array(fields.get("data"), dtype, [], limits)[()]
    return _array(fields.get("data"), dtype, fields.get("shape"), limits)


def _from_json(text: Any) -> Any:
    """GR00T's modality configuration: a JSON text in N1.5, the same as a dict later."""
    if not isinstance(text, str):
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise WireError(f"as_json is not JSON: {error}") from None


def _pack_jpeg(images: np.ndarray, body: _Body, quality: int) -> dict:
    import io

    from PIL import Image  # only for those who ask for JPEG; a client needs numpy, pyzmq and msgpack otherwise

    places = []
    for image in images.reshape(-1, *images.shape[-3:]):
        stream = io.BytesIO()
        Image.fromarray(image).save(stream, "JPEG", quality=quality)
        data = stream.getvalue()
        places.append([body.append(data, len(data)), len(data)])
    return {"__jpeg__": places, "shape": images.shape}


def _from_jpeg(body: Any, fields: dict, limits: Limits) -> np.ndarray:
    import io

    from PIL import Image

    places, shape = fields["__jpeg__"], fields.get("shape")
    if (
        type(shape) is not list
        or not 3 <= len(shape) <= limits.dims
        or not all(type(size) is int and size > 0 for size in shape)
        or shape[-1] != 3
    ):
        raise WireError(f"JPEG images have a shape (..., h, w, 3), not {_short(shape)}")
    if math.prod(shape) > limits.message_bytes or math.prod(shape[:-3]) > limits.images:
        raise WireError(f"JPEG images of shape {_short(shape)} are too many or too large")
    if type(places) is not list or len(places) != math.prod(shape[:-3]):
        raise WireError(f"JPEG images of shape {_short(shape)} need as many places in the second frame")
    images = []
    for place in places:
        if type(place) is not list or len(place) != 2:
            raise WireError(f"a JPEG image's place is [offset, size], not {_short(place)}")
        start, size = map(_offset, place)
        try:
            # formats: nothing but JPEG is tried; open() reads the header only
            image = Image.open(io.BytesIO(memoryview(body)[start : start + size]), formats=["JPEG"])
            if image.size != (shape[-2], shape[-3]) or image.mode != "RGB":
                raise WireError(f"a JPEG image is {image.size} {image.mode}, its message says {shape[-3:]}")
            images.append(np.asarray(image))
        except WireError:
            raise
        except (OSError, SyntaxError, ValueError) as error:
            raise WireError(f"a JPEG image cannot be read: {error}") from None
    return np.stack(images).reshape(shape)


def _short(value: Any) -> str:
    """A few characters of what arrived; never the whole of it."""
    return reprlib.repr(value)
