"""Policy servers side by side: ours, and what Isaac-GR00T and openpi put on the wire, as far as a round trip shows it.

Every server is run in a process of its own by ``started``, and asked by a function that waits for the answer.
"""

import io
import multiprocessing
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import msgpack
import numpy as np
import zmq

from common.conventions import ACTION_DIM, HORIZON, PROPRIO_DIM, VIEWS
from common.errors import UserError
from policy.remote import PolicyClient, wire
from robot_bridge.server import PolicyServer

SIZE = (128, 128)
Ask = Callable[[], Any]
Computes = Callable[[int], None]


def at_once(rows: int) -> None:
    """A policy that takes no time: what is left is the bridge."""


def as_a_gpu_does(rows: int) -> None:
    """A policy that takes 20 ms, and 2 ms more for every further row of a batch, on another processor."""
    time.sleep(0.018 + 0.002 * rows)


@dataclass(frozen=True)
class TimedPolicy:
    """Returns zeros, once ``computes(rows)`` has returned."""

    computes: Computes = at_once
    views: tuple[str, ...] = VIEWS
    image_size: tuple[int, int] = SIZE
    action_horizon: int = HORIZON

    def act(self, images: np.ndarray, proprio: np.ndarray | None, text: Any) -> np.ndarray:
        assert images.shape[1:] == (len(VIEWS), *SIZE, 3)
        self.computes(len(images))
        return np.zeros((len(images), HORIZON, ACTION_DIM), np.float32)

    def predict_codes(self, images: np.ndarray, text: Any) -> tuple[np.ndarray, np.ndarray]:
        return np.zeros((len(images), 15), np.int64), np.zeros((len(images), 15, 1), np.float32)

    def predict_traj(self, images: np.ndarray, init_queries: np.ndarray, text: Any) -> np.ndarray:
        return np.repeat(init_queries[:, :, :1], HORIZON, axis=2)

    def describe(self) -> dict[str, Any]:
        return {"name": "timed"}


def observation(seed: int = 0) -> dict[str, Any]:
    """Two random camera images and a state."""
    rng = np.random.default_rng(seed)
    return {
        "video": {view: rng.integers(0, 256, (1, 1, *SIZE, 3), dtype=np.uint8) for view in VIEWS},
        "state": {"proprio": np.zeros((1, 1, PROPRIO_DIM), np.float32)},
        "language": {"task": [["pick up the milk"]]},
    }


def act(seen: dict[str, Any], computes: Computes) -> np.ndarray:
    """What every server does with an observation: look at its shape, stack the cameras, ask the policy."""
    for view in VIEWS:
        image = seen["video"][view]
        assert image.dtype == np.uint8
        assert image.ndim == 5
    images = np.stack([seen["video"][view][:, -1] for view in VIEWS], axis=1)
    return TimedPolicy(computes).act(images, seen["state"]["proprio"][:, -1], seen["language"]["task"])


def serve_ours(ready: Connection, computes: Computes) -> None:
    """Our server."""
    server = PolicyServer(TimedPolicy(computes), "tcp://127.0.0.1:*")
    ready.send(server.endpoint)
    server.run()


def ask_ours(address: str) -> Ask:
    """Our client."""
    client = PolicyClient(address)
    seen = observation()
    return lambda: client.get_action(seen)


def pack_npy(array: np.ndarray) -> dict[str, Any]:
    """An array as Isaac-GR00T packs it until N1.6."""
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=False)
    return {"__ndarray_class__": True, "as_npy": stream.getvalue()}


def unpack_npy(fields: dict) -> Any:
    """The way back."""
    return np.load(io.BytesIO(fields["as_npy"]), allow_pickle=False) if "as_npy" in fields else fields


def pack_msgpack_numpy(array: np.ndarray) -> dict[bytes, Any]:
    """An array as msgpack-numpy packs it, and Isaac-GR00T from N1.7 on."""
    kind = {b"nd": True, b"type": array.dtype.str, b"kind": b"", b"shape": array.shape}
    return {**kind, b"data": array.data if array.flags["C_CONTIGUOUS"] else array.tobytes()}


def unpack_msgpack_numpy(fields: dict) -> Any:
    """The way back."""
    if b"nd" not in fields:
        return fields
    return np.ndarray(buffer=fields[b"data"], dtype=np.dtype(fields[b"type"]), shape=fields[b"shape"])


def pack_openpi(array: np.ndarray) -> dict[bytes, Any]:
    """An array as openpi packs it."""
    return {b"__ndarray__": True, b"data": array.tobytes(), b"dtype": array.dtype.str, b"shape": array.shape}


def unpack_openpi(fields: dict) -> Any:
    """The way back."""
    if b"__ndarray__" not in fields:
        return fields
    return np.ndarray(buffer=fields[b"data"], dtype=np.dtype(fields[b"dtype"]), shape=fields[b"shape"])


def serve_groot(ready: Connection, computes: Computes, pack: Callable, unpack: Callable) -> None:
    """Isaac-GR00T's: one REP socket, one thread, one request at a time."""
    socket: zmq.Socket = zmq.Context().socket(zmq.REP)
    ready.send(f"tcp://127.0.0.1:{socket.bind_to_random_port('tcp://127.0.0.1')}")
    while True:
        request = msgpack.unpackb(socket.recv(), object_hook=unpack)
        socket.send(msgpack.packb([{"action": act(request["data"]["observation"], computes)}, {}], default=pack))


def ask_groot(address: str, pack: Callable, unpack: Callable) -> Ask:
    """Isaac-GR00T's client."""
    socket: zmq.Socket = zmq.Context.instance().socket(zmq.REQ)
    socket.linger = 0
    socket.connect(address)
    seen = observation()

    def ask() -> Any:
        socket.send(msgpack.packb({"endpoint": "get_action", "data": {"observation": seen}}, default=pack))
        return msgpack.unpackb(socket.recv(), object_hook=unpack)

    return ask


def serve_npy(ready: Connection, computes: Computes) -> None:
    """With N1.6's arrays."""
    serve_groot(ready, computes, pack_npy, unpack_npy)


def ask_npy(address: str) -> Ask:
    """With N1.6's arrays."""
    return ask_groot(address, pack_npy, unpack_npy)


def serve_msgpack_numpy(ready: Connection, computes: Computes) -> None:
    """With N1.7's arrays."""
    serve_groot(ready, computes, pack_msgpack_numpy, unpack_msgpack_numpy)


def ask_msgpack_numpy(address: str) -> Ask:
    """With N1.7's arrays."""
    return ask_groot(address, pack_msgpack_numpy, unpack_msgpack_numpy)


def serve_websocket(ready: Connection, computes: Computes) -> None:
    """openpi's: an asyncio websocket server without compression, which computes in its event loop."""
    import asyncio

    from websockets.asyncio.server import ServerConnection, serve

    async def handle(connection: ServerConnection) -> None:
        await connection.send(msgpack.packb({}))
        async for message in connection:
            seen = msgpack.unpackb(message, object_hook=unpack_openpi)
            await connection.send(msgpack.packb({"actions": act(seen, computes)}, default=pack_openpi))

    async def forever() -> None:
        async with serve(handle, "127.0.0.1", 0, compression=None, max_size=None) as server:
            ready.send(f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}")
            await server.serve_forever()

    asyncio.run(forever())


def ask_websocket(address: str) -> Ask:
    """openpi's client."""
    from websockets.sync.client import connect

    connection = connect(address, compression=None, max_size=None, ping_interval=None)
    connection.recv()
    seen = observation()

    def ask() -> Any:
        connection.send(msgpack.packb(seen, default=pack_openpi))
        return msgpack.unpackb(connection.recv(), object_hook=unpack_openpi)

    return ask


def serve_frames(ready: Connection, computes: Computes) -> None:
    """Frames that nobody looks at: what ZeroMQ alone costs."""
    socket: zmq.Socket = zmq.Context().socket(zmq.ROUTER)
    ready.send(f"tcp://127.0.0.1:{socket.bind_to_random_port('tcp://127.0.0.1')}")
    reply = wire.encode({"reply": [{"action": np.zeros((1, HORIZON, ACTION_DIM), np.float32)}, {}]})
    while True:
        peer, *_ = socket.recv_multipart()
        computes(1)
        socket.send_multipart([peer, b"", *reply])


def ask_frames(address: str) -> Ask:
    """Sends the same bytes as our client."""
    socket: zmq.Socket = zmq.Context.instance().socket(zmq.DEALER)
    socket.linger = 0
    socket.connect(address)
    request = [b"", *wire.encode({"endpoint": "get_action", "data": {"observation": observation()}})]

    def ask() -> Any:
        socket.send_multipart(request)
        return socket.recv_multipart()

    return ask


PEERS: dict[str, tuple[Callable[[Connection, Computes], None], Callable[[str], Ask]]] = {
    "ours": (serve_ours, ask_ours),
    "GR00T N1.6 (npy)": (serve_npy, ask_npy),
    "GR00T N1.7 (msgpack-numpy)": (serve_msgpack_numpy, ask_msgpack_numpy),
    "openpi (websocket)": (serve_websocket, ask_websocket),
    "bare ZeroMQ": (serve_frames, ask_frames),
}


def started(serve: Callable[..., None], *arguments: Any) -> tuple[multiprocessing.Process, str]:
    """A server in a process of its own, and its address."""
    here, there = multiprocessing.Pipe()
    process = multiprocessing.Process(target=serve, args=(there, *arguments), daemon=True)
    process.start()
    if not here.poll(60):
        raise UserError(f"{serve.__name__} did not start")
    return process, here.recv()
