"""How arrays travel inside a message: our raw buffers and JPEGs, Isaac-GR00T's npy bytes, msgpack-numpy's and openpi's
maps.

``pack`` turns an array into plain data, ``Unpacker`` turns it back. Whatever the plain data claims is compared with the
bytes that have arrived before anything is allocated. ``docs/wire.md`` has the layout of each form.
"""

import io
import json
import math
import re
import reprlib
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np

from common.errors import UserError


class WireError(UserError, ValueError):
    """A message that cannot be decoded or encoded; the text says which part and why."""


class Encoding(Enum):
    """How arrays travel. A reply uses the encoding of its request."""

    RAW = "raw"
    """Ours: all arrays' bytes in a second frame, each described by ``{"__buffer__": offset, "dtype", "shape"}``."""
    NPY = "npy"
    """Isaac-GR00T until N1.6: ``{"__ndarray_class__": True, "as_npy": npy bytes}``."""
    NUMPY = "msgpack-numpy"
    """msgpack-numpy with text keys: ``{"nd": True, "type", "kind", "shape", "data"}``."""
    NUMPY_BYTES = "msgpack-numpy-bytes"
    """The same with byte keys, as the msgpack-numpy package itself writes them, and Isaac-GR00T from N1.7 on."""
    OPENPI = "openpi"
    """openpi: ``{b"__ndarray__": True, b"data", b"dtype", b"shape"}``, on a websocket."""


@dataclass(frozen=True)
class Limits:
    """What a receiver accepts at most. A bigger claim is an error, not an allocation."""

    message_bytes: int = 64 << 20
    frames: int = 2
    images: int = 64
    """JPEG images of one array."""
    dims: int = 8
    text_bytes: int = 1 << 16
    items: int = 4096
    """Entries of all lists and maps together, and the lists and maps; arrays are none, so real messages stay below."""
    depth: int = 16
    """Lists and maps inside one another."""


DEFAULT_LIMITS = Limits()

_DTYPES = {
    name: np.dtype(name)
    for kind, sizes in (("i", "1248"), ("u", "1248"), ("f", "248"), ("b", "1"))
    for size in sizes
    for order in "<>|="
    for name in (f"{order}{kind}{size}",)
}
_NPY_HEADER = re.compile(
    rb"\{'descr': '([<>|=][biuf][1248])', 'fortran_order': (True|False), "
    rb"'shape': \(((?: ?[0-9]{1,19},)* ?(?:[0-9]{1,19})?)\),? *\}\s*"
)

_JPEG_RATIO = 1024
"""A JPEG is never smaller than its pixels by more than this: a block of 16 x 16 pixels takes several bits."""


class Body:
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


def pack(array: np.ndarray, encoding: Encoding, body: Body, jpeg_quality: int | None = None) -> dict:
    """``array`` as plain data; the bytes of ``RAW`` arrays go into ``body``. ``WireError`` for what is not numbers."""
    if array.dtype.str not in _DTYPES:
        raise WireError(f"cannot send an array of {array.dtype}; send numbers or booleans")
    if encoding is Encoding.RAW:
        if jpeg_quality is not None and array.dtype == np.uint8 and array.ndim >= 3 and array.shape[-1] == 3:
            return _to_jpeg(array, body, jpeg_quality)
        offset = body.append(np.ascontiguousarray(array), array.nbytes)
        return {"__buffer__": offset, "dtype": array.dtype.str, "shape": array.shape}
    if encoding is Encoding.NPY:
        return {"__ndarray_class__": True, "as_npy": _to_npy(array)}
    if encoding is Encoding.OPENPI:
        return {b"__ndarray__": True, b"data": array.tobytes(), b"dtype": array.dtype.str, b"shape": array.shape}
    fields = {"nd": True, "type": array.dtype.str, "kind": "", "shape": array.shape, "data": array.tobytes()}
    if encoding is Encoding.NUMPY:
        return fields
    return {key.encode(): b"" if key == "kind" else field for key, field in fields.items()}


class Unpacker:
    """Puts arrays in the place of the maps that describe them; ``found`` is the encoding of the last one."""

    def __init__(self, body: Any, limits: Limits):
        self.found: Encoding | None = None
        self._body = body
        self._limits = limits

    def unpack(self, value: Any, depth: int = 1) -> Any:
        """``value`` with its arrays, which are read-only views of the frames. ``WireError`` for false claims."""
        kind = type(value)
        if kind is not dict and kind is not list:
            return value
        if depth > self._limits.depth:
            raise WireError(f"lists and maps inside one another, more than {self._limits.depth} deep")
        if kind is list:
            return [self.unpack(item, depth + 1) for item in value]
        if "__buffer__" in value:
            self.found = Encoding.RAW
            return _array(self._body, value.get("dtype"), value.get("shape"), self._limits, value["__buffer__"])
        if "as_npy" in value:
            self.found = Encoding.NPY
            return _from_npy(value["as_npy"], self._limits)
        if "nd" in value:
            self.found = Encoding.NUMPY
            return _from_msgpack_numpy(value, self._limits)
        if b"nd" in value:
            self.found = Encoding.NUMPY_BYTES
            return _from_msgpack_numpy(_text_keys(value), self._limits)
        if b"__ndarray__" in value:
            self.found = Encoding.OPENPI
            return _array(value.get(b"data"), value.get(b"dtype"), value.get(b"shape"), self._limits)
        if b"__npgeneric__" in value:  # openpi's numpy scalars bring the plain number
            return self.unpack(value.get(b"data"), depth + 1)
        if "__jpeg__" in value:
            self.found = Encoding.RAW
            return _from_jpeg(self._body, value, self._limits)
        if "as_json" in value:
            return _from_json(value["as_json"])
        return {key: self.unpack(item, depth + 1) for key, item in value.items()}


def _array(data: Any, dtype: Any, shape: Any, limits: Limits, offset: Any = None) -> np.ndarray:
    """A view of ``data`` as an array, once dtype, shape and number of bytes are known to agree.

    Without an ``offset`` the array is all of ``data``; with one, it begins there and must end inside.
    """
    known = _DTYPES.get(dtype) if isinstance(dtype, str) else None
    if known is None:
        raise WireError(f"an array's dtype must be a number type such as '<f4', not {_short(dtype)}")
    if (
        type(shape) is not list
        or len(shape) > limits.dims
        or not all(type(size) is int and 0 <= size <= limits.message_bytes for size in shape)
    ):
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


def _to_npy(array: np.ndarray) -> bytes:
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


def _to_jpeg(images: np.ndarray, body: Body, quality: int) -> dict:
    from PIL import Image  # only for those who ask for JPEG; a client needs numpy, pyzmq and msgpack otherwise

    places = []
    for image in images.reshape(-1, *images.shape[-3:]):
        stream = io.BytesIO()
        Image.fromarray(image).save(stream, "JPEG", quality=quality)
        data = stream.getvalue()
        places.append([body.append(data, len(data)), len(data)])
    return {"__jpeg__": places, "shape": images.shape}


def _from_jpeg(body: Any, fields: dict, limits: Limits) -> np.ndarray:
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
        images.append(_read_jpeg(memoryview(body)[start : start + size], shape))
    return np.stack(images).reshape(shape)


def _read_jpeg(data: memoryview, shape: list[int]) -> np.ndarray:
    try:
        from PIL import Image
    except ImportError:
        raise WireError("JPEG images cannot be read here: pillow is missing (pip install pillow)") from None
    try:
        # formats: nothing but JPEG is tried; open() reads the header only
        image = Image.open(io.BytesIO(data), formats=["JPEG"])
        if image.size != (shape[-2], shape[-3]) or image.mode != "RGB":
            raise WireError(f"a JPEG image is {image.size} {image.mode}, its message says {shape[-3:]}")
        if math.prod(shape[-3:]) > _JPEG_RATIO * len(data):
            raise WireError(f"a JPEG image of {len(data)} bytes cannot hold {shape[-3:]}")
        return np.asarray(image)
    except WireError:
        raise
    except Exception as error:  # a decoder's errors have no common type: a claim of too many pixels is none of OSError
        raise WireError(f"a JPEG image cannot be read: {type(error).__name__} {error}") from None


def _short(value: Any) -> str:
    """A few characters of what arrived; never the whole of it."""
    return reprlib.repr(value)
