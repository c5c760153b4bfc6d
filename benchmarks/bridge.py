"""The policy server beside the field's: ``python -m benchmarks.bridge [round-trip|batching|jitter]``.

round-trip: a policy that returns at once, 2 x 128 x 128 x 3 uint8 and the state, loopback; ours against GR00T's
encoding (npy in msgpack, REQ/REP), openpi's websocket (msgpack frames) and frames that nobody reads, alternating.
batching: requests a second of 8 clients at once and of one after the other, with the default bundle.
jitter: how late the control loop's ticks are at 20 Hz while a policy computes in another process, with real-time
priority and without.
"""

import multiprocessing
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import msgpack
import numpy as np
import zmq

from common.cli import CommandParser, run
from common.conventions import VIEWS
from common.errors import UserError
from policy import DEFAULT_BUNDLE
from policy.remote import PolicyClient, RemotePolicy, wire
from policy.remote.wire import Encoding
from robot_bridge.realtime import DEFAULT_PRIORITY, prefer_this_process
from robot_bridge.server import PolicyServer, warm_up

ACTIONS = np.zeros((1, 16, 7), np.float32)
Ask = Callable[[], Any]


class InstantPolicy:
    """Returns at once; what is left is the bridge."""

    views = VIEWS
    image_size = (128, 128)
    action_horizon = 16

    def act(self, images: np.ndarray, proprio: np.ndarray | None, text: Any) -> np.ndarray:
        assert images.shape[1:] == (2, 128, 128, 3)
        return ACTIONS

    def predict_codes(self, images: np.ndarray, text: Any) -> tuple[np.ndarray, np.ndarray]:
        return np.zeros((len(images), 15), np.int64), np.zeros((len(images), 15, 1), np.float32)

    def predict_traj(self, images: np.ndarray, init_queries: np.ndarray, text: Any) -> np.ndarray:
        return np.repeat(init_queries[:, :, :1], 16, axis=2)

    def describe(self) -> dict[str, Any]:
        return {"name": "instant"}


def observation() -> dict[str, Any]:
    """Two random camera images and a state."""
    rng = np.random.default_rng(0)
    return {
        "video": {view: rng.integers(0, 256, (1, 1, 128, 128, 3), dtype=np.uint8) for view in VIEWS},
        "state": {"proprio": np.zeros((1, 1, 9), np.float32)},
        "language": {"task": [["pick up the milk"]]},
    }


def infer(seen: dict[str, Any]) -> np.ndarray:
    """What every server does with an observation: look at its shape, stack the cameras, ask the policy."""
    for view in VIEWS:
        image = seen["video"][view]
        assert image.dtype == np.uint8
        assert image.ndim == 5
    images = np.stack([seen["video"][view][:, -1] for view in VIEWS], axis=1)
    return InstantPolicy().act(images, seen["state"]["proprio"][:, -1], seen["language"]["task"])


def serve_ours(ready: Connection) -> None:
    """Our server."""
    server = PolicyServer(InstantPolicy(), "tcp://127.0.0.1:*")
    ready.send(server.endpoint)
    server.run()


def serve_groot(ready: Connection) -> None:
    """Isaac-GR00T's: one REP socket, one thread, npy bytes in msgpack."""
    import io

    socket: zmq.Socket = zmq.Context().socket(zmq.REP)
    ready.send(f"tcp://127.0.0.1:{socket.bind_to_random_port('tcp://127.0.0.1')}")
    while True:
        request = msgpack.unpackb(
            socket.recv(),
            object_hook=lambda f: np.load(io.BytesIO(f["as_npy"]), allow_pickle=False) if "as_npy" in f else f,
        )
        socket.send(msgpack.packb([{"action": infer(request["data"]["observation"])}, {}], default=npy))


def npy(array: np.ndarray) -> dict[str, Any]:
    """An array as GR00T packs it."""
    import io

    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=False)
    return {"__ndarray_class__": True, "as_npy": stream.getvalue()}


def ask_groot(address: str) -> Ask:
    """Isaac-GR00T's client."""
    import io

    socket: zmq.Socket = zmq.Context.instance().socket(zmq.REQ)
    socket.linger = 0
    socket.connect(address)
    seen = observation()

    def ask() -> Any:
        socket.send(msgpack.packb({"endpoint": "get_action", "data": {"observation": seen}}, default=npy))
        return msgpack.unpackb(
            socket.recv(),
            object_hook=lambda f: np.load(io.BytesIO(f["as_npy"]), allow_pickle=False) if "as_npy" in f else f,
        )

    return ask


def pack_openpi(array: np.ndarray) -> dict[bytes, Any]:
    """An array as openpi packs it."""
    return {b"__ndarray__": True, b"data": array.tobytes(), b"dtype": array.dtype.str, b"shape": array.shape}


def unpack_openpi(fields: dict) -> Any:
    """The way back."""
    if b"__ndarray__" not in fields:
        return fields
    return np.ndarray(buffer=fields[b"data"], dtype=np.dtype(fields[b"dtype"]), shape=fields[b"shape"])


def serve_websocket(ready: Connection) -> None:
    """openpi's: an asyncio websocket server without compression."""
    import asyncio

    from websockets.asyncio.server import ServerConnection, serve

    async def handle(connection: ServerConnection) -> None:
        await connection.send(msgpack.packb({}))
        async for message in connection:
            seen = msgpack.unpackb(message, object_hook=unpack_openpi)
            await connection.send(msgpack.packb({"actions": infer(seen)}, default=pack_openpi))

    async def forever() -> None:
        async with serve(handle, "127.0.0.1", 0, compression=None, max_size=None) as server:
            ready.send(f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}")
            await server.serve_forever()

    asyncio.run(forever())


def ask_websocket(address: str) -> Ask:
    """openpi's client."""
    from websockets.sync.client import connect

    connection = connect(address, compression=None, max_size=None)
    connection.recv()
    seen = observation()

    def ask() -> Any:
        connection.send(msgpack.packb(seen, default=pack_openpi))
        return msgpack.unpackb(connection.recv(), object_hook=unpack_openpi)

    return ask


def ask_ours(address: str) -> Ask:
    """Our client."""
    client = PolicyClient(address)
    seen = observation()
    return lambda: client.get_action(seen)


def serve_frames(ready: Connection) -> None:
    """Frames that nobody looks at: what ZeroMQ alone costs."""
    socket: zmq.Socket = zmq.Context().socket(zmq.ROUTER)
    ready.send(f"tcp://127.0.0.1:{socket.bind_to_random_port('tcp://127.0.0.1')}")
    reply = wire.encode({"reply": [{"action": ACTIONS}, {}]})
    while True:
        peer, *_ = socket.recv_multipart()
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


def started(serve: Callable[[Connection], None]) -> tuple[multiprocessing.Process, str]:
    """A server in a process of its own, and its address."""
    here, there = multiprocessing.Pipe()
    process = multiprocessing.Process(target=serve, args=(there,), daemon=True)
    process.start()
    if not here.poll(60):
        raise UserError(f"{serve.__name__} did not start")
    return process, here.recv()


def round_trip(count: int) -> None:
    """Alternates between them in blocks, so that a busy moment of the machine meets all of them."""
    kinds = {
        "ours": (serve_ours, ask_ours),
        "GR00T-style": (serve_groot, ask_groot),
        "websocket": (serve_websocket, ask_websocket),
        "bare ZeroMQ": (serve_frames, ask_frames),
    }
    servers: list[multiprocessing.Process] = []
    asks: dict[str, Ask] = {}
    times: dict[str, list[float]] = {name: [] for name in kinds}
    for name, (serve, connect) in kinds.items():
        process, address = started(serve)
        servers.append(process)
        asks[name] = connect(address)
    for block in range(21):
        for name, ask in asks.items():
            for _ in range(max(1, count // 20)):
                begun = time.perf_counter()
                ask()
                if block:  # the first is for warming up
                    times[name].append(time.perf_counter() - begun)
    for process in servers:
        process.kill()
    ours = float(np.percentile(times["ours"], 50))
    print(f"{'round trip':14s}{'p50 ms':>10s}{'p99 ms':>10s}{'p50 / ours':>12s}")
    for name, values in times.items():
        p50, p99 = np.percentile(values, [50, 99])
        print(f"{name:14s}{p50 * 1e3:10.3f}{p99 * 1e3:10.3f}{p50 / ours:12.2f}")


def batching(checkpoint: str, seconds: float, clients: int) -> None:
    """Requests a second: one client, and ``clients`` at once."""
    from policy import load_policy

    policy = load_policy(checkpoint)
    server = PolicyServer(policy, "tcp://127.0.0.1:*", max_batch=clients, max_wait=0.02)
    warm_up(policy, (1, clients))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    process_context = multiprocessing.get_context("spawn")

    def rate(number: int) -> float:
        here = [process_context.Pipe() for _ in range(number)]
        workers = [
            process_context.Process(target=_ask_for, args=(server.endpoint, seconds, there), daemon=True)
            for _, there in here
        ]
        for worker in workers:
            worker.start()
        for mine, _ in here:
            mine.recv()  # connected
        for mine, _ in here:
            mine.send("go")
        return sum(mine.recv() for mine, _ in here) / seconds

    alone, together = rate(1), rate(clients)
    server.stop()
    thread.join(10)
    print(f"one client {alone:.1f} requests/s, {clients} clients {together:.1f} requests/s: {together / alone:.2f} x")


def _ask_for(address: str, seconds: float, parent: Connection) -> None:
    policy = RemotePolicy(address)
    images = np.zeros((1, len(policy.views), *policy.image_size, 3), np.uint8)
    state = np.zeros((1, 9), np.float32)
    policy.act(images, state, ["pick up the milk"])
    parent.send("ready")
    parent.recv()
    ends, count = time.monotonic() + seconds, 0
    while time.monotonic() < ends:
        policy.act(images, state, ["pick up the milk"])
        count += 1
    parent.send(count)


def jitter(seconds: float) -> None:
    """The twin, a server whose policy computes 80 ms a chunk, and the loop: each in a process of its own.

    The loop runs in turns with real-time priority, as ``robot_bridge.run`` does by default, and without.
    """
    _, address = started(_serve_busy)
    _, states = started(_run_twin)
    late: dict[int, list[float]] = {0: [], DEFAULT_PRIORITY: []}
    for priority in (*late, *late):
        here, there = multiprocessing.Pipe()
        process = multiprocessing.Process(target=_loop, args=(there, address, states, priority, seconds), daemon=True)
        process.start()
        late[priority] += here.recv()
        process.join()
    print(f"{'ticks at 20 Hz':22s}{'number':>8s}{'p50 ms':>9s}{'p99 ms':>9s}{'max ms':>9s}{'over 10 ms':>12s}")
    for priority, values in late.items():
        milliseconds = np.array(values) * 1e3
        p50, p99 = np.percentile(milliseconds, [50, 99])
        name = f"priority {priority}" if priority else "ordinary process"
        share = f"{(milliseconds > 10).mean():.2%}"
        print(f"{name:22s}{len(values):8d}{p50:9.3f}{p99:9.3f}{milliseconds.max():9.3f}{share:>12s}")


def _loop(parent: Connection, server: str, twin: str, priority: int, seconds: float) -> None:
    """Sends how late (s) each tick came."""
    from robot_bridge.asker import Asker
    from robot_bridge.chunks import OverlapBlend
    from robot_bridge.config import read_robot
    from robot_bridge.drivers.link import RobotLink
    from robot_bridge.kinematics import Kinematics
    from robot_bridge.loop import ControlLoop
    from robot_bridge.osc import OscReference
    from robot_bridge.panda import load_model
    from robot_bridge.run import PolicyQuestion

    config = read_robot("twin")
    state_address, target_address = twin.split()
    arm = Kinematics(load_model(config.model), config.joints, config.site, "base")
    prefer_this_process(priority)
    link = RobotLink(state_address, target_address, 7)
    link.wait(VIEWS, 60)
    asker = Asker(PolicyQuestion(PolicyClient(server), VIEWS, "wave"))
    reference = OscReference(config.osc, 1 / 20)
    loop = ControlLoop(
        config, link, arm, asker, OverlapBlend(), views=VIEWS, image_size=(128, 128), reference=reference
    )
    parent.send(loop.run(seconds).late)
    asker.close()
    link.close()


class _BusyPolicy(InstantPolicy):
    """Computes 80 ms a chunk, on the processor."""

    def act(self, images: np.ndarray, proprio: np.ndarray | None, text: Any) -> np.ndarray:
        ends = time.monotonic() + 0.08
        matrix = np.ones((300, 300), np.float32)
        while time.monotonic() < ends:
            matrix @ matrix
        phase = time.monotonic()
        actions = np.zeros((len(images), 16, 7), np.float32)
        actions[..., 1], actions[..., 2] = 0.5 * np.sin(phase), 0.3 * np.cos(phase)
        return actions


def _serve_busy(ready: Connection) -> None:
    server = PolicyServer(_BusyPolicy(), "tcp://127.0.0.1:*")
    ready.send(server.endpoint)
    server.run()


def _run_twin(ready: Connection) -> None:
    from robot_bridge.twin import Twin

    twin = Twin("tcp://127.0.0.1:*", "tcp://127.0.0.1:*")
    ready.send(f"{twin.state_address} {twin.target_address}")
    twin.run()


def encodings() -> None:
    """How long packing and unpacking alone take, in microseconds."""
    request = {"endpoint": "get_action", "data": {"observation": observation()}}
    for encoding in Encoding:
        begun = time.perf_counter()
        for _ in range(200):
            wire.decode(wire.encode(request, encoding))
        print(f"{encoding.value:20s} {(time.perf_counter() - begun) / 200 * 1e6:8.1f} us there and back")


def main(argv: list[str]) -> None:
    """The command."""
    parser = CommandParser("benchmarks.bridge", __doc__)
    parser.add_argument(
        "what", nargs="*", default=["encodings", "round-trip"], help="encodings round-trip batching jitter"
    )
    parser.add_argument("--count", type=int, default=4000, help="round trips of each kind")
    parser.add_argument("--seconds", type=float, default=10.0, help="duration of each part of batching and jitter")
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--checkpoint", default=DEFAULT_BUNDLE)
    arguments = parser.parse_args(argv)
    for what in arguments.what:
        if what == "encodings":
            encodings()
        elif what == "round-trip":
            round_trip(arguments.count)
        elif what == "batching":
            batching(arguments.checkpoint, arguments.seconds, arguments.clients)
        elif what == "jitter":
            jitter(arguments.seconds)
        else:
            raise UserError(f"no benchmark {what!r}; there are encodings, round-trip, batching and jitter")


if __name__ == "__main__":
    run(main)
