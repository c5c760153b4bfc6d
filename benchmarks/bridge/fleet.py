"""Many robots and one policy: how many answers a second there are, how old they get, and whether turns are fair."""

import heapq
import itertools
import time
from collections import Counter
from multiprocessing.connection import Connection

import numpy as np
import zmq

from benchmarks.bridge.peers import observation, started
from policy.remote import wire
from robot_bridge.server import PolicyServer, warm_up

RATE = 5.0
"""Requests a second of each robot."""
DEADLINE = 1.0
"""Seconds after which a robot does not want an answer any more."""


def fleet(checkpoint: str, seconds: float, sizes: list[int]) -> None:
    """Robots ask on the beat, whether or not the last answer has come, as a loop with a watchdog does."""
    process, address = started(_serve, checkpoint)
    try:
        columns = ("robots", "asked/s", "answers/s", "p50 ms", "p99 ms", "least", "most", "dropped")
        print("".join(f"{column:>11s}" for column in columns))
        for robots in sizes:
            answers, delays, dropped = _drive(address, robots, seconds)
            p50, p99 = (float(value) * 1e3 for value in np.percentile(delays, [50, 99]))
            print(
                f"{robots:11d}{robots * RATE:11.0f}{sum(answers) / seconds:11.1f}{p50:11.1f}{p99:11.1f}"
                f"{min(answers):11d}{max(answers):11d}   {dict(dropped) or ''}",
                flush=True,
            )
    finally:
        process.kill()


def _drive(address: str, robots: int, seconds: float) -> tuple[list[int], list[float], Counter[str]]:
    """Answers to each robot, all delays (s), and what came instead of an answer how often."""
    poller = zmq.Poller()
    sockets: list[zmq.Socket] = []
    for _ in range(robots):
        socket: zmq.Socket = zmq.Context.instance().socket(zmq.DEALER)
        socket.linger = 0
        socket.connect(address)
        poller.register(socket, zmq.POLLIN)
        sockets.append(socket)
    seen = [observation(number) for number in range(robots)]
    answers, delays = [0] * robots, []
    asked: list[dict[int, float]] = [{} for _ in range(robots)]
    instead: Counter[str] = Counter()
    identities = itertools.count(1)
    begun = time.monotonic() + 0.5
    ends = begun + seconds
    beats = [(begun + (number + 0.5) / robots / RATE, number) for number in range(robots)]
    heapq.heapify(beats)
    while beats[0][0] < ends or (any(asked) and time.monotonic() < ends + DEADLINE):
        at, number = beats[0]
        if at < ends and at <= time.monotonic():
            heapq.heapreplace(beats, (at + 1 / RATE, number))
            identity = next(identities)
            asked[number][identity] = time.monotonic()
            request = {"v": wire.VERSION, "id": identity, "deadline": DEADLINE, "data": {"observation": seen[number]}}
            sockets[number].send_multipart([b"", *wire.encode(request)], zmq.NOBLOCK)
            continue
        for socket, _ in poller.poll(max(0.0, min(at, ends + DEADLINE) - time.monotonic()) * 1e3):
            number = sockets.index(socket)
            reply, _ = wire.decode(socket.recv_multipart()[1:])
            delay = time.monotonic() - asked[number].pop(reply["id"])
            if "error" in reply:
                instead[reply["code"]] += 1
            else:
                answers[number] += 1
                delays.append(delay)
    if lost := sum(map(len, asked)):
        instead["no reply"] = lost
    for socket in sockets:
        socket.close()
    return answers, delays, instead


def _serve(ready: Connection, checkpoint: str) -> None:
    from policy import load_policy

    policy = load_policy(checkpoint)
    server = PolicyServer(policy, "tcp://127.0.0.1:*")
    warm_up(policy, (1, 2, 4, 8, 16))
    ready.send(server.endpoint)
    server.run()
