"""Reading pickle files, plain or by joblib, that hold numbers, text, arrays and containers of them; nothing else.

Motion capture is passed around as such files. A pickle is a program: the one here can call nothing but what makes an
array, changes nothing but arrays, and ends where it asks for anything else. No other place in the project reads pickle.

joblib keeps an array's bytes outside the pickle: behind the instruction that fills its ``NumpyArrayWrapper`` stands a
byte p, p bytes of padding where the wrapper says that there is any, and the array.
"""

import bz2
import io
import lzma
import pickle
import zlib
from collections import OrderedDict
from math import prod
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from common.errors import UserError

MOST_BYTES = 2**32
"""That a compressed file may unpack to."""


class PickleError(UserError):
    """A pickle file that is damaged, or holds more than numbers, text, arrays and containers."""


class _Forbidden(Exception):
    """What the pickle asked for."""


def load(path: str | Path) -> Any:
    """What a pickle file holds: numbers, text, bytes, arrays, lists, tuples, sets and mappings.

    Raises:
        PickleError: it asks for any function or class beside those that make these, or is damaged.
        OSError: it cannot be read.
    """
    data = Path(path).read_bytes()
    try:
        found = _Reader(io.BytesIO(_unpacked(data))).load()
        _refuse_objects(found)
    except _Forbidden as what:
        raise PickleError(
            f"{path} was not read: it asks for {what}, and a pickle that holds more than arrays and plain containers "
            "may do anything; convert it where you trust it, to the NPY format for example"
        ) from None
    except Exception as error:  # a damaged program may fail in any way; it has called nothing of ours
        raise PickleError(f"{path} is no pickle file, or damaged ({type(error).__name__}: {error})") from None
    return found


def _unpacked(data: bytes) -> bytes:
    unpacker: Any = None
    if data[:1] == b"\x78" or data[:2] == b"\x1f\x8b":
        unpacker = zlib.decompressobj(47)  # zlib or gzip, whichever the header says
    elif data[:3] == b"BZh":
        unpacker = bz2.BZ2Decompressor()
    elif data[:5] == b"\xfd7zXZ":
        unpacker = lzma.LZMADecompressor()
    if unpacker is None:
        return data
    unpacked = unpacker.decompress(data, MOST_BYTES)
    if not unpacker.eof:
        raise ValueError(f"it is cut off, or unpacks to more than {MOST_BYTES / 2**30:g} GiB")
    return unpacked


class _JoblibArray:
    """Stands for ``joblib.numpy_pickle.NumpyArrayWrapper``: what the pickle says about the array behind it."""

    def __init__(self, *_: Any) -> None:
        self.about: dict[str, Any] = {}

    def read(self, file: io.BytesIO) -> np.ndarray:
        about = self.about
        dtype, shape = about["dtype"], tuple(int(size) for size in about["shape"])
        if not isinstance(dtype, np.dtype) or dtype.hasobject:
            raise _Forbidden("an array of objects")
        if about.get("numpy_array_alignment_bytes") is not None:
            file.read(file.read(1)[0])
        data = file.read(prod(shape) * dtype.itemsize)
        return np.ndarray(shape, dtype, data, order="F" if about["order"] == "F" else "C").copy()


def _reconstruct(*_: Any) -> np.ndarray:
    """In place of numpy's: an array that the next instruction fills, of no class but numpy's own."""
    return np.zeros(0, "b")


def _scalar(dtype: np.dtype, data: Any = b"") -> np.generic:
    """In place of numpy's, which also takes objects."""
    if not isinstance(dtype, np.dtype) or dtype.hasobject or not isinstance(data, bytes):
        raise _Forbidden("a numpy scalar that is an object")
    return np.frombuffer(data, dtype, 1)[0]


def _frombuffer(data: Any, dtype: np.dtype, shape: Any, order: str, axes: Any = None) -> np.ndarray:
    """In place of numpy's, with which protocol 5 makes arrays; ``axes`` are those of an array that was transposed."""
    if not isinstance(dtype, np.dtype) or dtype.hasobject:
        raise _Forbidden("an array of objects")
    array = np.ndarray(shape, dtype, bytes(data), order="F" if order == "F" else "C")
    return array.copy(order="K") if axes is None else array.transpose(axes).copy()


def _no_bytes() -> bytes:
    """In place of ``bytes``, as which old protocols write empty ones."""
    return b""


def _encode(text: str, encoding: str = "latin1") -> bytes:
    """In place of ``_codecs.encode``, with which bytes are written in old protocols."""
    if encoding.lower() not in ("latin1", "latin-1", "utf-8", "utf8", "ascii"):
        raise _Forbidden(f"the codec {encoding}")
    return text.encode(encoding)


_ALLOWED: dict[tuple[str, str], Any] = {
    ("joblib.numpy_pickle", "NumpyArrayWrapper"): _JoblibArray,
    ("numpy", "ndarray"): "ndarray",  # only ever named as the class of an array, which is always this one
    ("numpy", "dtype"): np.dtype,
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy.core.multiarray", "scalar"): _scalar,
    ("numpy._core.multiarray", "scalar"): _scalar,
    ("numpy.core.numeric", "_frombuffer"): _frombuffer,
    ("numpy._core.numeric", "_frombuffer"): _frombuffer,
    ("builtins", "bytes"): _no_bytes,
    ("__builtin__", "bytes"): _no_bytes,
    ("collections", "OrderedDict"): OrderedDict,
    ("_codecs", "encode"): _encode,
}


class _Reader(pickle._Unpickler):  # in Python, so that it can stop where joblib's arrays stand between instructions
    dispatch: ClassVar[dict[int, Any]] = dict(pickle._Unpickler.dispatch)

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file)
        self._file = file

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise _Forbidden(f"{module}.{name}")
        return _ALLOWED[module, name]

    def get_extension(self, code: int) -> None:
        raise _Forbidden(f"the registered extension {code}")

    def load_build(self) -> None:
        """Fills what was made last: arrays and their types, and nothing that others use."""
        stack: list[Any] = self.stack  # type: ignore[attr-defined]
        filled = stack[-2]
        if type(filled) is _JoblibArray:
            filled.about = dict(stack.pop())
            stack[-1] = filled.read(self._file)
        elif type(filled) is np.ndarray or isinstance(filled, np.dtype):
            super().load_build()  # type: ignore[misc]
        else:
            raise _Forbidden(f"changing a {type(filled).__name__}")

    dispatch[pickle.BUILD[0]] = load_build


def _refuse_objects(found: Any) -> None:
    """Goes through everything for arrays that hold Python objects."""
    seen: set[int] = set()
    left = [found]
    while left:
        value = left.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, np.ndarray) and value.dtype.hasobject:
            raise _Forbidden("an array of objects")
        if isinstance(value, dict):
            left.extend(value.values())
            left.extend(value.keys())
        elif isinstance(value, list | tuple | set | frozenset):
            left.extend(value)
