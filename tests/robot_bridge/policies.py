"""Small policies behind the interface, and a server around one, for the tests of the bridge."""

import ctypes
import gc
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import zmq

from policy.interface import Plan
from policy.remote import wire
from robot_bridge.server import PolicyServer


class ConstantPolicy:
    """Answers every row with the first proprioceptive number, so that mixed-up replies show."""

    views = ("agentview", "eye_in_hand")
    image_size = (32, 32)
    action_horizon = 16

    def __init__(self, before_act: Callable[[np.ndarray], None] = lambda images: None):
        self.batches: list[int] = []
        self.before_act = before_act

    def act(self, images: np.ndarray, proprio: np.ndarray, text: list[str]) -> np.ndarray:
        self.batches.append(len(images))
        self.before_act(images)
        return np.broadcast_to(proprio[:, :1, None], (len(images), 16, 7)).astype(np.float32)

    def predict_codes(self, images: np.ndarray, text: list[str]) -> tuple[np.ndarray, np.ndarray]:
        return np.full((len(images), 15), 3), np.zeros((len(images), 15, 4), np.float32)

    def predict_traj(self, images: np.ndarray, init_queries: np.ndarray, text: list[str]) -> np.ndarray:
        return np.repeat(init_queries[:, :, :1], 16, axis=2)

    def describe(self) -> dict[str, Any]:
        return {"name": "constant"}


class ContinuingPolicy(ConstantPolicy):
    """Does what is planned as far as it is to be kept, else what ``ConstantPolicy`` does; keeps the plans."""

    def __init__(self) -> None:
        super().__init__()
        self.plans: list[Plan | None] = []

    def act(self, images: np.ndarray, proprio: np.ndarray, text: list[str], plan: Plan | None = None) -> np.ndarray:
        self.plans.append(plan)
        actions = super().act(images, proprio, text)
        if plan is None:
            return actions
        kept = plan.weights[..., None]
        return kept * plan.actions + (1 - kept) * actions

    def describe(self) -> dict[str, Any]:
        return {"name": "continuing", "inpaints": True}


class Gate:
    """Holds the policy until opened; tells when it is inside."""

    def __init__(self) -> None:
        self.entered, self.opened = threading.Event(), threading.Event()

    def __call__(self, images: np.ndarray) -> None:
        self.entered.set()
        assert self.opened.wait(10)


def observation(value: float = 0.0, rows: int = 1) -> dict[str, Any]:
    """One observation as the wire nests it, for ``ConstantPolicy``."""
    proprio = np.full((rows, 1, 9), value, np.float32)
    return {
        "video": {view: np.zeros((rows, 1, 32, 32, 3), np.uint8) for view in ConstantPolicy.views},
        "state": {"proprio": proprio},
        "language": {"task": [["pick up the milk"]] * rows},
    }


def raw_client(address: str, **options: int) -> zmq.Socket:
    """A client's socket and nothing more."""
    socket = zmq.Context.instance().socket(zmq.DEALER)
    socket.linger = 0
    for name, value in options.items():
        setattr(socket, name, value)
    socket.connect(address)
    return socket


def send(socket: zmq.Socket, number: int, endpoint: str = "get_action", **envelope: Any) -> None:
    """A request in our form; ``number`` is its id and the state in its observation."""
    message = {"v": 1, "id": number, "endpoint": endpoint, "data": {"observation": observation(number)}, **envelope}
    socket.send_multipart([b"", *wire.encode(message)])


def receive(socket: zmq.Socket, timeout: float = 5.0) -> dict:
    """The next reply."""
    assert socket.poll(int(timeout * 1000)), "no reply"
    return wire.decode(socket.recv_multipart()[1:])[0]


@contextmanager
def serving(policy: Any, bind: str = "tcp://127.0.0.1:*", **options: Any) -> Iterator[PolicyServer]:
    """A running server on a free port; stopped at the end."""
    server = PolicyServer(policy, bind, **options)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.stop()
        thread.join(15)
        assert not thread.is_alive(), "the server did not stop"


def with_patience(attempt: Callable[[], None], times: int = 3) -> None:
    """Tries what hangs on timing again: a busy machine is not a bug, what never works is one."""
    for left in reversed(range(times)):
        try:
            return attempt()
        except AssertionError:
            if not left:
                raise


def until(holds: Callable[[], bool], timeout: float = 5.0) -> None:
    """Waits for a condition that has no event to wait for."""
    ends = time.monotonic() + timeout
    while not holds():
        assert time.monotonic() < ends, "waited in vain"
        time.sleep(0.002)


def resident_bytes() -> int:
    """This process's memory, from Linux's own books, without what the allocators only keep for later."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
