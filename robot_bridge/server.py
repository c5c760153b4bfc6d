"""The policy server: many clients, one policy, batches, and a door that inference never closes.

Two threads: the *door* reads requests and answers at once what needs no policy; *inference* computes what waits. When
either ends by an error, ``run`` raises: a server that no longer answers must not look as if it did.
"""

import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import zmq
from zmq.auth.thread import ThreadAuthenticator

from common.errors import UserError
from policy.interface import Policy, inpaints
from policy.remote import PolicyClient, wire
from policy.remote.names import Names
from policy.remote.wire import Encoding, Limits
from robot_bridge.keys import server_keys
from robot_bridge.logs import fields
from robot_bridge.serving.admission import Admission
from robot_bridge.serving.connections import Connections
from robot_bridge.serving.dispatch import Dispatcher
from robot_bridge.serving.door import Door
from robot_bridge.serving.embodiment import embodiment_of
from robot_bridge.serving.health import Health
from robot_bridge.serving.inference import Inference
from robot_bridge.serving.metrics import ServerMetrics
from robot_bridge.serving.observation import InputSpec
from robot_bridge.serving.replies import Replies
from robot_bridge.serving.waiting import Waiting

log = logging.getLogger("robot_bridge.server")


class ServerFailed(RuntimeError):
    """A thread of the server ended by an error, so requests are no longer answered."""


class PolicyServer:
    """Serves ``policy`` at ``bind``; ``run`` returns after ``stop``. docs/wire.md describes what clients see.

    ``max_wait`` (s) is how long a request may wait for company; ``grace`` (s) how long ``stop`` waits for the requests
    that are in; ``keys`` the folder made by ``python -m robot_bridge.keys``; ``rename`` holds ``OURS=THEIRS`` texts
    (``policy.remote.names``); ``groot`` the release whose ``get_modality_config`` is spoken (``serving.modality``).
    ``endpoint`` tells the address that was bound, useful with port 0.
    """

    def __init__(
        self,
        policy: Policy,
        bind: str,
        *,
        max_batch: int = 16,
        max_wait: float = 0.002,
        token: str | None = None,
        keys: str | Path | None = None,
        limits: Limits = wire.DEFAULT_LIMITS,
        grace: float = 10.0,
        rename: Sequence[str] = (),
        groot: str = "1.6",
    ):
        self.metrics = ServerMetrics()
        self._grace = grace
        self._news: queue.SimpleQueue[None] = queue.SimpleQueue()  # may be used in a signal handler
        self._failure: str | None = None
        self._ran = False
        self._token = token
        self._beside: list[Callable[[], None]] = []

        about = policy.describe()
        names = Names.read(rename, policy.views)
        horizon = policy.action_horizon if inpaints(policy) else None
        spec = InputSpec(
            policy.views, policy.image_size, max_batch, names, about.get("num_tracks"), embodiment_of(policy), horizon
        )
        self._context = zmq.Context()
        self._authenticator = _only_known_clients(self._context, keys) if keys is not None else None
        self._socket = _router(self._context, bind, limits, keys)
        self._connections = Connections(self._socket)
        self._door = Door(self._socket, self._connections, lambda peer, frames: self._dispatcher.handle(peer, frames))
        self.endpoint = self._bind(bind)
        self._inside = f"inproc://{id(self)}"
        self._socket.bind(self._inside)

        waiting = Waiting(max_batch, max_wait)
        replies = Replies(self._door.send, self.metrics)
        self._inference = Inference(policy, waiting, max_batch, names, self.metrics, replies)
        self._dispatcher = Dispatcher(
            policy, spec, Admission(token, limits), self._inference, replies, self.metrics, groot
        )
        instruction = next(iter(about.get("instructions") or ()), "wait")
        self._health = Health(
            self._context, self._inside, spec, token, instruction, lambda: self._inference.answered_at
        )
        self.metrics.waiting = lambda: len(waiting)
        self.metrics.lost = lambda: self._door.lost
        self.metrics.connections = lambda: len(self._connections)

    def run(self) -> None:
        """Serves until ``stop`` is called from another thread or a signal handler; raises ``ServerFailed``."""
        threads = {
            name: threading.Thread(target=self._watch, args=(name, part), name=name, daemon=True)
            for name, part in (("door", self._door.run), ("inference", self._inference.run))
        }
        self._ran = True
        for thread in threads.values():
            thread.start()
        self.metrics.ready = True
        self._news.get()
        self.metrics.ready = False
        self._inference.stop()
        threads["inference"].join(self._grace if self._failure is None else 0.0)
        if threads["inference"].is_alive():  # its thread dies with the process
            log.error("stopped without an answer from the policy", extra=fields(grace_s=self._grace))
        for close in self._beside:
            close()
        self._door.stop()
        threads["door"].join(1.0)
        if not threads["door"].is_alive():
            self._close()
        if self._failure is not None:
            raise ServerFailed(self._failure)

    def stop(self) -> None:
        """Answers what is in, refuses what comes, then lets ``run`` return. Safe in a signal handler."""
        self._dispatcher.refuse_new = True
        self._news.put(None)

    @property
    def description(self) -> dict[str, Any]:
        """What ``describe`` answers: views, image_size, action_horizon, policy and more (docs/wire.md)."""
        return self._dispatcher.description

    def client(self, timeout: float) -> PolicyClient:
        """A client in this process, by the same door as all others; to be closed before ``run`` ends."""
        return PolicyClient(
            self._inside, timeout=timeout, token=self._token, encoding=Encoding.RAW, context=self._context
        )

    def before_the_end(self, close: Callable[[], None]) -> None:
        """Lets ``run`` call ``close`` when the last requests are answered and its door is still open."""
        self._beside.append(close)

    def close(self) -> None:
        """Gives up the address without having served; ``run`` does it by itself."""
        if not self._ran:
            for close in self._beside:
                close()
            self._close()

    def unhealthy(self) -> str | None:
        """Why a request would not be answered; None when one just was."""
        if self._failure is not None:
            return self._failure
        if not self.metrics.ready:
            return "warming up or stopped"
        return self._health.reason()

    def _watch(self, name: str, part: Callable[[], None]) -> None:
        """Runs a part of the server; however it fails, ``run`` and ``unhealthy`` hear of it."""
        try:
            part()
        except BaseException as error:
            self._failure = f"the {name} thread died: {type(error).__name__} {error}"
            log.critical("a thread of the server died", exc_info=True, extra=fields(thread=name))
            self._news.put(None)

    def _bind(self, bind: str) -> str:
        try:
            self._socket.bind(bind)
        except zmq.ZMQError as error:
            self._close()
            raise UserError(f"cannot listen on {bind}: {error}; choose another --bind") from None
        return self._socket.getsockopt_string(zmq.LAST_ENDPOINT)

    def _close(self) -> None:
        self._door.close()
        self._connections.close()
        self._socket.close(linger=1000)
        if self._authenticator is not None:
            self._authenticator.stop()
        self._context.term()


def warm_up(policy: Policy, sizes: tuple[int, ...], on_size: Callable[[int, float], None] | None = None) -> None:
    """Calls the policy once a batch size, so that the first client does not wait for lazy set-up."""
    (height, width), state_width = policy.image_size, embodiment_of(policy).state_width
    instruction = (policy.describe().get("instructions") or ["warm up"])[0]  # a policy may know no others
    for size in sizes:
        started = time.monotonic()
        images = np.zeros((size, len(policy.views), height, width, 3), np.uint8)
        policy.act(images, np.zeros((size, state_width), np.float32), [instruction] * size)
        if on_size is not None:
            on_size(size, time.monotonic() - started)


def _router(context: zmq.Context, bind: str, limits: Limits, keys: str | Path | None) -> zmq.Socket:
    socket: zmq.Socket = context.socket(zmq.ROUTER)
    socket.setsockopt(zmq.MAXMSGSIZE, limits.message_bytes)
    socket.setsockopt(zmq.ROUTER_MANDATORY, 1)  # tells when an answer cannot be sent
    socket.setsockopt(zmq.SNDHWM, 64)  # what a client that never reads can pile up before it loses replies
    socket.setsockopt(zmq.RCVHWM, 8)  # what a client that never stops can pile up before its own network holds it up
    socket.setsockopt(zmq.HEARTBEAT_IVL, 5000)  # a peer that vanished without a word is forgotten
    socket.setsockopt(zmq.HANDSHAKE_IVL, 5000)
    socket.setsockopt(zmq.IPV6, "[" in bind)
    if keys is not None:
        socket.curve_publickey, socket.curve_secretkey = server_keys(keys)
        socket.curve_server = True
    return socket


def _only_known_clients(context: zmq.Context, keys: str | Path) -> ThreadAuthenticator:
    authenticator = ThreadAuthenticator(context)
    authenticator.start()
    authenticator.configure_curve(domain="*", location=Path(keys) / "clients")
    return authenticator
