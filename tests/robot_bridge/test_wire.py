"""The codec: what goes in comes out, in every encoding, and nothing malformed does more than raise WireError."""

import contextlib
import io
import time
import tracemalloc

import msgpack
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from common.errors import UserError
from policy.remote import wire
from policy.remote.wire import Encoding, Limits, WireError

arrays = hnp.arrays(
    st.one_of(
        hnp.integer_dtypes(), hnp.unsigned_integer_dtypes(), hnp.floating_dtypes(sizes=(16, 32, 64)), st.just("?")
    ),
    hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4),
)
plain = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.text(max_size=9)
messages = st.recursive(
    plain, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner), max_leaves=8
)


@pytest.mark.parametrize("encoding", Encoding)
@given(array=arrays)
@settings(max_examples=60)
def test_arrays_survive_the_journey(encoding: Encoding, array: np.ndarray):
    message, found = wire.decode(wire.encode({"deep": [{"array": array}]}, encoding))
    back = message["deep"][0]["array"]
    assert found is encoding
    assert back.dtype == array.dtype
    assert back.shape == array.shape
    assert back.tobytes() == array.tobytes()


@given(message=messages)
@settings(max_examples=60)
def test_plain_data_survives_the_journey(message):
    assert wire.decode(wire.encode({"m": message}))[0] == {"m": message}


def test_our_npy_is_numpy_s_npy():
    array = np.arange(12, dtype=np.float32).reshape(3, 4)
    packed = msgpack.unpackb(wire.encode(array, Encoding.NPY)[0])
    np.testing.assert_array_equal(np.load(io.BytesIO(packed["as_npy"]), allow_pickle=False), array)


def test_numpy_s_npy_is_read_fortran_order_too():
    for array in (np.asfortranarray(np.arange(6.0).reshape(2, 3)), np.float64(3), np.zeros(4, np.int8)):
        stream = io.BytesIO()
        np.save(stream, array)
        message, _ = wire.decode([msgpack.packb({"__ndarray_class__": True, "as_npy": stream.getvalue()})])
        np.testing.assert_array_equal(message, array)


def test_msgpack_numpy_scalars_are_read():
    packed = msgpack.packb({b"nd": False, b"type": "<f4", b"data": np.float32(2.5).tobytes()})
    assert wire.decode([packed])[0] == 2.5


def test_raw_arrays_are_views_of_one_frame():
    frames = wire.encode({"state": np.ones(3), "image": np.zeros((64, 64, 3), np.uint8)})
    message, _ = wire.decode(frames)
    assert np.shares_memory(message["image"], np.frombuffer(frames[1], np.uint8))
    assert message["image"].ctypes.data % 8 == 0
    assert len(frames) == 2


def test_jpeg_images_keep_shape_and_look():
    rows = np.linspace(0, 255, 32).astype(np.uint8)
    images = np.broadcast_to(rows[None, None, :, None, None], (2, 1, 32, 32, 3)).copy()
    frames = wire.encode({"video": images}, jpeg_quality=90)
    back = wire.decode(frames)[0]["video"]
    assert len(frames) == 2
    assert back.shape == images.shape
    assert np.abs(back.astype(int) - images).mean() < 3
    assert sum(map(len, frames)) < images.nbytes / 3


def npy(shape: str) -> bytes:
    """The header of an npy file, and the bytes of one number."""
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(4)


def pickled_npy() -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.array([object()], dtype=object), allow_pickle=True)
    return stream.getvalue()


@pytest.mark.parametrize(
    "fields",
    [
        {"__buffer__": 0, "dtype": "<f4", "shape": [10**10]},
        {"__buffer__": 0, "dtype": "<f4", "shape": [-1, 4]},
        {"__buffer__": 0, "dtype": "O", "shape": [1]},
        {"__buffer__": 0, "dtype": "<f4,<f4", "shape": [1]},
        {"__buffer__": 1, "dtype": "<f4", "shape": [1]},
        {"__buffer__": -4, "dtype": "<f4", "shape": [1]},
        {"__buffer__": 2**63, "dtype": "<f4", "shape": [1]},
        {"__buffer__": True, "dtype": "<f4", "shape": [1]},
        {"__buffer__": 0, "dtype": "<f4", "shape": [1] * 40},
        {"__buffer__": 0},
        {"__buffer__": 0, "dtype": "<f4", "shape": [0, 2**64 - 1]},
        {"__buffer__": 0, "dtype": "<f4", "shape": [0, *[2**40] * 3]},
        {"__ndarray_class__": True, "as_npy": pickled_npy()},
        {"__ndarray_class__": True, "as_npy": b"\x93NUMPY\x01\x00\xff\xff{'descr'"},
        {
            "__ndarray_class__": True,
            "as_npy": b"\x93NUMPY\x01\x00\x41\x00{'descr': '<f8', 'fortran_order': False, 'shape': (9999999999,)}",
        },
        {"__ndarray_class__": True, "as_npy": 3},
        {"__ndarray_class__": True, "as_npy": npy("(1 1, 2)")},
        {"__ndarray_class__": True, "as_npy": npy("(1,, 2)")},
        {"__ndarray_class__": True, "as_npy": npy("(,)")},
        {"__ndarray_class__": True, "as_npy": npy(f"({'9' * 30},)")},
        {"nd": True, "type": "|O", "kind": "O", "shape": [1], "data": b"cos\nsystem\n"},
        {"nd": True, "type": "<f4", "kind": "V", "shape": [1], "data": b"1234"},
        {"nd": True, "type": "<f4", "kind": "", "shape": "x", "data": b"1234"},
        {"nd": True},
        {"__jpeg__": [[0, 4]], "shape": [10**5, 10**5, 3]},
        {"__jpeg__": 1, "shape": [8, 8, 3]},
        {"__jpeg__": [[0, 4]], "shape": [8, 8, 3]},
        {"__jpeg__": [[0, 4]] * 2, "shape": [8, 8, 3]},
        {"__jpeg__": [[2**63, 4]], "shape": [8, 8, 3]},
        {"as_json": "{"},
    ],
)
def test_lies_are_refused_before_anything_is_allocated(fields: dict):
    tracemalloc.start()
    with pytest.raises(WireError):
        wire.decode([msgpack.packb({"x": fields}), b"1234"])
    assert tracemalloc.get_traced_memory()[1] < 2 << 20
    tracemalloc.stop()


def test_a_header_of_nested_giant_lists_stays_small():
    tracemalloc.start()
    with pytest.raises(WireError):
        wire.decode([b"\xdd\x00\x00\x03\xff" * 2000])
    assert tracemalloc.get_traced_memory()[1] < 16 << 20
    tracemalloc.stop()


def jpeg_header(width: int, height: int) -> bytes:
    """A JPEG of 8 x 8 pixels whose header says otherwise."""
    stream = io.BytesIO()
    Image.new("RGB", (8, 8)).save(stream, "JPEG")
    data = stream.getvalue()
    sizes = data.index(b"\xff\xc0") + 5
    return data[:sizes] + height.to_bytes(2, "big") + width.to_bytes(2, "big") + data[sizes + 4 :]


@pytest.mark.parametrize(("width", "height"), [(20_000, 20_000), (65_535, 65_535), (4_000, 4_000)])
def test_a_jpeg_that_claims_another_size_is_refused(width: int, height: int):
    data = jpeg_header(width, height)
    for shape in ([8, 8, 3], [height, width, 3]):
        with pytest.raises(WireError):
            wire.decode([msgpack.packb({"__jpeg__": [[0, len(data)]], "shape": shape}), data])


def megabytes(pattern: bytes, size: int = 16 << 20) -> bytes:
    """An endless list of lists of ``pattern``."""
    return b"\xdd\x00\x00\x03\xe8" + (b"\xdc\x03\xe8" + pattern * 1000) * (size // (3 + 1000 * len(pattern)))


BOMBS = {
    "empty maps": megabytes(b"\x80"),
    "empty lists": megabytes(b"\x90"),
    "maps of one": megabytes(b"\x81\xa1a\x80"),
    "nothing": megabytes(b"\xc0"),
    "a list of 1,000 in a list of 1,000, endlessly deep": b"\xdd\x00\x00\x03\xe8" * (3 << 20),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_of_megabytes_is_found_out_at_once(name: str):
    tracemalloc.start()
    begun = time.perf_counter()
    with pytest.raises(WireError, match=r"lists, maps|not a msgpack"):
        wire.parse([BOMBS[name]])
    assert time.perf_counter() - begun < 0.5  # it takes milliseconds
    assert tracemalloc.get_traced_memory()[1] < 16 << 20
    tracemalloc.stop()


def test_depth_is_limited():
    deep: dict = {}
    for _ in range(20):
        deep = {"a": deep}
    with pytest.raises(WireError, match="16 deep"):
        wire.decode(wire.encode(deep))
    for container in (b"\x91", b"\x81\xa1a"):
        with pytest.raises(WireError):
            wire.decode([container * 100_000 + b"\xc0"])


def test_the_token_of_a_message_can_be_read_before_its_arrays_are():
    message = {"api_token": "secret", "data": {"__jpeg__": "no such image"}}
    plain = wire.parse(wire.encode(message))
    assert plain["api_token"] == "secret"
    with pytest.raises(WireError, match="JPEG"):
        wire.unpack(plain["data"], [b""])


def test_a_message_beyond_the_limit_is_refused_by_its_sender_with_the_mend():
    with pytest.raises(UserError, match=r"65\.0 MiB, a receiver takes 64 MiB; send fewer observations"):
        wire.encode({"video": np.zeros((65, 1 << 20), np.uint8)})


def test_limits_on_frames_and_bytes():
    with pytest.raises(WireError, match="bytes"):
        wire.decode([b"\xc0", bytes(100)], Limits(message_bytes=50))
    with pytest.raises(WireError, match="frames"):
        wire.decode([b"\xc0"] * 100)
    with pytest.raises(WireError, match="frames"):
        wire.decode([])


def test_what_cannot_travel_is_refused_by_the_sender():
    for value in (np.array([object()]), {1, 2}, np.array(["text"]), 2**80):
        with pytest.raises(WireError):
            wire.encode({"x": value})


@given(frames=st.lists(st.binary(max_size=60), max_size=4))
@settings(max_examples=300)
def test_noise_raises_wire_error_or_is_a_message(frames: list[bytes]):
    with contextlib.suppress(WireError):
        wire.decode(frames)


values = (
    plain
    | st.binary(max_size=9)
    | st.sampled_from(["<f4", "|u1", "O", True, [1, 2], [0], [2**63], [[0, 4]], 2**64 - 1])
)
keys = ["__buffer__", "dtype", "shape", "as_npy", "nd", "type", "kind", "data", "__jpeg__", "as_json", b"nd", b"type"]
claims = st.recursive(
    values,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(keys), inner, max_size=5),
    max_leaves=12,
)


@given(claim=claims, body=st.binary(max_size=40))
@settings(max_examples=500)
def test_any_claim_raises_wire_error_or_is_a_message(claim, body: bytes):
    with contextlib.suppress(WireError):
        wire.decode([msgpack.packb({"x": claim}), body])


@given(data=st.data(), encoding=st.sampled_from(list(Encoding)))
@settings(max_examples=300)
def test_damaged_messages_raise_wire_error_or_are_messages(data: st.DataObject, encoding: Encoding):
    message = {"endpoint": "get_action", "data": {"state": {"proprio": np.ones((1, 1, 9), np.float32)}}}
    frames = [bytearray(frame) for frame in wire.encode(message, encoding)]
    for _ in range(data.draw(st.integers(1, 6))):
        frame = data.draw(st.sampled_from(frames))
        if frame:
            frame[data.draw(st.integers(0, len(frame) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(WireError):
        wire.decode([bytes(frame) for frame in frames])
