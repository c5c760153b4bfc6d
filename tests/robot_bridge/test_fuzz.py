"""Hostile messages by the thousand: each is answered or dropped, and afterwards the server is as it was.

Bytes are damaged, and fields are replaced by values of other types and sizes: what a careless or hostile client sends
is well-formed more often than not.
"""

import logging
import threading
from typing import Any

import numpy as np
import pytest

from policy import DEFAULT_BUNDLE
from policy.interface import Policy
from policy.remote import PolicyClient, wire
from policy.remote.wire import Encoding
from tests.robot_bridge.policies import ConstantPolicy, observation, raw_client, resident_bytes, serving, until

FIELDS = ("v", "id", "endpoint", "api_token", "deadline", "observed_at", "data")
ENDPOINTS = (
    "get_action",
    "predict_codes",
    "predict_traj",
    "ping",
    "reset",
    "describe",
    "metrics",
    "get_modality_config",
)


def nested(depth: int, kind: type) -> Any:
    value: Any = 0
    for _ in range(depth):
        value = [value] if kind is list else {"a": value}
    return value


def any_array(rng: np.random.Generator) -> np.ndarray:
    """Any number type, any shape of a few thousand numbers at most, with NaN and the like among them."""
    kinds = ["u1", "i1", "u2", "i4", "i8", "u8", "f2", "f4", "f8", "?", ">f4", ">i2"]
    shape = [int(rng.choice([0, 1, 1, 1, 2, 3, 8, 9, 32])) for _ in range(rng.integers(0, 7))]
    while np.prod(shape) > 5000:
        shape.pop()
    array = np.zeros(shape, kinds[rng.integers(len(kinds))])
    if array.dtype.kind == "f" and array.size:
        array.flat[rng.integers(array.size)] = rng.choice([np.nan, np.inf, 1e4, -1e38 if array.itemsize > 2 else 9])
    return array


def any_value(rng: np.random.Generator) -> Any:
    """A value of any type, with a liking for the ones that hurt."""
    values: list[Any] = [None, True, False, 0, 1, -1, 2, 2**63, -(2**63), 2**64 - 1, 0.5, -0.0, 1e308]
    values += [float("nan"), float("inf"), "", "x", "\x00", "x" * 70_000, "ping", "kill", b"", b"\xff" * 9]
    values += [[], {}, [[]], {"": {}}, [None] * 5000, {str(n): n for n in range(2000)}, *ENDPOINTS]
    values += [nested(depth, kind) for depth in (3, 17, 400) for kind in (list, dict)]
    values += [{"__buffer__": 0, "dtype": "<f8", "shape": [2**40]}, {"as_npy": b"\x93NUMPY"}, {"nd": True}]
    values += [{"__jpeg__": [[0, 600]], "shape": [20_000, 20_000, 3]}, {b"nd": False, b"type": "|O"}, {"as_json": "["}]
    if rng.integers(2):
        return any_array(rng)
    return values[rng.integers(len(values))]


def mutate(value: Any, rng: np.random.Generator) -> Any:
    """``value`` with one thing in it replaced, removed, added, or turned into something else."""
    if isinstance(value, dict) and value and rng.integers(5):
        key = list(value)[rng.integers(len(value))]
        return {**value, key: mutate(value[key], rng)}
    if isinstance(value, list) and value and rng.integers(3):
        index = int(rng.integers(len(value)))
        return [*value[:index], mutate(value[index], rng), *value[index + 1 :]]
    kind = rng.integers(6)
    if isinstance(value, dict) and value and kind == 0:
        return {key: one for key, one in value.items() if key != list(value)[rng.integers(len(value))]}
    if isinstance(value, dict) and kind == 1:
        return {**value, str(rng.choice(["", "video", "x", *FIELDS])): any_value(rng)}
    if isinstance(value, list) and kind == 0:
        return value * int(rng.integers(0, 5))
    if isinstance(value, np.ndarray) and value.ndim and kind == 0:
        return value[None] if rng.integers(2) else value[..., :-1]
    if isinstance(value, np.ndarray) and kind == 1:
        with np.errstate(invalid="ignore"):
            return value.astype(rng.choice(["f4", "f8", "u1", "i8", "?"]))
    return any_value(rng)


def request(rng: np.random.Generator, policy: Policy) -> dict[str, Any]:
    """A good request, for any endpoint, in our envelope or without one."""
    rows = int(rng.choice([1, 1, 1, 2]))
    height, width = policy.image_size
    seen = observation(0.1, rows)
    seen["video"] = {view: np.zeros((rows, 1, height, width, 3), np.uint8) for view in policy.views}
    tracks = policy.describe().get("num_tracks", 5)
    queries = np.zeros((rows, len(policy.views), 1, tracks, 2), np.float32)
    data = {"observation": seen, "options": None, "init_queries": queries}
    ours = {"v": 1, "id": 7, "deadline": 5.0, "observed_at": 1.5, "api_token": "secret"} if rng.integers(3) else {}
    return {"endpoint": str(rng.choice(ENDPOINTS, p=[0.4, 0.1, 0.1, *[0.08] * 5])), "data": data, **ours}


def mutated(rng: np.random.Generator, policy: Policy) -> list[bytes]:
    """The frames of a request with one to three of its fields mutated."""
    while True:
        message: Any = request(rng, policy)
        for _ in range(rng.integers(1, 4)):
            message = mutate(message, rng)
        try:
            return wire.encode(message, list(Encoding)[rng.integers(len(Encoding))])
        except wire.WireError:  # too deep for the sender itself
            continue


def damaged(rng: np.random.Generator, policy: Policy) -> list[bytes]:
    """Noise, or the frames of a request with some of its bytes changed or cut off."""
    kind = rng.integers(4)
    if kind == 0:
        return [rng.bytes(rng.integers(0, 80)) for _ in range(rng.integers(0, 6))]
    frames = [
        bytearray(part) for part in wire.encode(request(rng, policy), list(Encoding)[rng.integers(len(Encoding))])
    ]
    frame = frames[0] if kind < 3 else frames[rng.integers(len(frames))]
    for _ in range(rng.integers(1, 8)):
        frame[rng.integers(min(len(frame), 400))] = rng.integers(256)
    if kind == 2:
        del frame[rng.integers(len(frame)) :]
    return [bytes(frame) for frame in frames]


def fuzz(policy: Policy, make: Any, count: int, seed: int) -> float:
    """Sends ``count`` messages; returns by how much memory grew over the second half.

    Each has an answer. After every twentieth part a good request has its own, and in the end the threads that served in
    the beginning still do, and none of the answers was for a mistake of the server's.
    """
    rng = np.random.default_rng(seed)
    good = observation(0.5)
    good["video"] = {view: np.zeros((1, 1, *policy.image_size, 3), np.uint8) for view in policy.views}
    with serving(policy) as server:
        until(lambda: server.metrics.ready)
        threads = serving_threads()
        memory = []
        for _block in range(20):
            socket = raw_client(server.endpoint)
            answers = 0
            for sent in range(1, count // 20 + 1):
                socket.send_multipart([b"", *make(rng, policy)])
                while socket.poll(0) or sent - answers > (32 if sent < count // 20 else 0):
                    assert socket.poll(60_000), f"{sent - answers} messages without an answer"
                    wire.decode(socket.recv_multipart()[1:])
                    answers += 1
            with PolicyClient(server.endpoint, timeout=60) as client:
                assert client.get_action(good)[0]["action"].shape == (1, 16, 7)
            assert not socket.poll(0)
            socket.close()
            memory.append(resident_bytes())
        assert server.unhealthy() is None
        assert serving_threads() == threads
        assert server.metrics.lost() == 0
        for outcome in ("internal", "policy_failed"):
            assert sum(server.metrics.requests(endpoint, outcome) for endpoint in (*ENDPOINTS, "unknown")) == 0
    # The least of five: a measurement also sees what is just on its way.
    return min(memory[-5:]) / min(memory[8:13]) - 1


def serving_threads() -> set[int | None]:
    return {thread.ident for thread in threading.enumerate() if thread.name in ("door", "inference")}


@pytest.fixture(autouse=True)
def nothing_kept(monkeypatch):
    """Lets no log record reach pytest, which keeps all of them."""
    monkeypatch.setattr(logging.getLogger("robot_bridge.server"), "filters", [lambda record: False])


@pytest.mark.parametrize("make", [mutated, damaged])
def test_two_thousand_hostile_messages_are_answered(make: Any):
    fuzz(ConstantPolicy(), make, 2000, seed=0)


@pytest.mark.slow
@pytest.mark.parametrize("make", [mutated, damaged])
def test_a_hundred_thousand_hostile_messages_leak_nothing(make: Any):
    assert fuzz(ConstantPolicy(), make, 100_000, seed=1) < 0.02


@pytest.mark.slow
def test_ten_thousand_hostile_messages_to_the_default_policy():
    load = pytest.importorskip("policy.load")
    assert fuzz(load.load_policy(DEFAULT_BUNDLE), mutated, 10_000, seed=3) < 0.05
