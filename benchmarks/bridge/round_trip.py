"""Round trips: one client of a policy that takes no time, and many of one that does."""

import contextlib
import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection

import numpy as np

from benchmarks.bridge.peers import PEERS, Ask, as_a_gpu_does, at_once, observation, started
from policy.remote import wire
from policy.remote.wire import Encoding
from robot_bridge.realtime import DEFAULT_PRIORITY, prefer_this_process

RATE = 20.0
"""Requests a second of each client in ``load``."""


def encodings() -> None:
    """How long packing and unpacking alone take, in microseconds."""
    request = {"endpoint": "get_action", "data": {"observation": observation()}}
    for encoding in Encoding:
        begun = time.perf_counter()
        for _ in range(200):
            wire.decode(wire.encode(request, encoding))
        print(f"{encoding.value:20s} {(time.perf_counter() - begun) / 200 * 1e6:8.1f} us there and back")


def round_trip(count: int, busy: bool) -> None:
    """One client; alternates between the servers in blocks, so that a busy moment of the machine meets all of them."""
    servers, asks = [], {}
    times: dict[str, list[float]] = {name: [] for name in PEERS}
    for name, (serve, connect) in PEERS.items():
        process, address = started(serve, at_once)
        servers.append(process)
        asks[name] = connect(address)
    with burners(os.cpu_count() or 1 if busy else 0):
        if busy:
            times["ours, real-time priority"] = _preferred(count)
        for block in range(21):
            for name, ask in asks.items():
                for _ in range(max(1, count // 20)):
                    begun = time.perf_counter()
                    ask()
                    if block:  # the first is for warming up
                        times[name].append(time.perf_counter() - begun)
    for process in servers:
        process.kill()
    table("round trip, busy" if busy else "round trip", times)


def _preferred(count: int) -> list[float]:
    """Round trips as the control loop has them by default, of a server with ``--priority``."""
    server, address = started(_serve_preferred)
    here, there = multiprocessing.Pipe()
    client = multiprocessing.Process(target=_ask_preferred, args=(there, address, count), daemon=True)
    client.start()
    times = here.recv()
    client.join()
    server.kill()
    return times


def _serve_preferred(ready: Connection) -> None:
    prefer_this_process(DEFAULT_PRIORITY)
    PEERS["ours"][0](ready, at_once)


def _ask_preferred(parent: Connection, address: str, count: int) -> None:
    prefer_this_process(DEFAULT_PRIORITY)
    ask = PEERS["ours"][1](address)
    times = []
    for number in range(-count // 20, count):
        begun = time.perf_counter()
        ask()
        if number >= 0:
            times.append(time.perf_counter() - begun)
    parent.send(times)


def load(seconds: float, clients: int) -> None:
    """``clients`` of each server in turn, each asking ``RATE`` times a second as long as its answers come in time."""
    times: dict[str, list[float]] = {}
    for name, (serve, connect) in PEERS.items():
        process, address = started(serve, as_a_gpu_does)
        taken: list[float] = []
        ends = time.perf_counter() + seconds + 0.5
        threads = [
            threading.Thread(target=_ask_at_rate, args=(connect, address, number / clients / RATE, ends, taken))
            for number in range(clients)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        process.kill()
        times[name] = taken
    table(f"{clients} clients", times, seconds)


def _ask_at_rate(connect: Callable[[str], Ask], address: str, phase: float, ends: float, taken: list[float]) -> None:
    ask = connect(address)
    ask()
    due = ends - int((ends - time.perf_counter()) * RATE) / RATE + phase
    while due < ends:
        time.sleep(max(0.0, due - time.perf_counter()))
        begun = time.perf_counter()
        ask()
        now = time.perf_counter()
        taken.append(now - begun)
        due = max(due + 1 / RATE, now)


def table(title: str, times: dict[str, list[float]], seconds: float | None = None) -> None:
    """Prints milliseconds, and answers a second where they were limited by time."""
    print(f"{title:28s}{'p50 ms':>10s}{'p99 ms':>10s}{'max ms':>10s}{'answers/s' if seconds else '':>12s}")
    for name, values in times.items():
        p50, p99, most = (float(value) * 1e3 for value in np.percentile(values, [50, 99, 100]))
        rate = f"{len(values) / seconds:12.1f}" if seconds else ""
        print(f"{name:28s}{p50:10.3f}{p99:10.3f}{most:10.3f}{rate}")


@contextlib.contextmanager
def burners(number: int) -> Iterator[None]:
    """So many processes that do nothing but keep a core busy."""
    processes = [multiprocessing.Process(target=_burn, daemon=True) for _ in range(number)]
    for process in processes:
        process.start()
    try:
        yield
    finally:
        for process in processes:
            process.kill()


def _burn() -> None:
    while True:
        pass
