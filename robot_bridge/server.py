"""The policy server: many clients, one policy, batches, and a door that inference never closes.

Two identical threads share one ROUTER socket. One *keeps the door*: it reads requests, answers at once what needs no
policy, and computes a batch itself when one is due, because handing it to another thread costs more than the whole
round trip. If that takes longer than ``PATIENCE`` the other thread takes over the door, so ``ping`` and ``metrics``
are answered while the policy computes, and the first one goes on computing until nothing waits.
"""

import contextlib
import hmac
import logging
import selectors
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import zmq
from zmq.auth.thread import ThreadAuthenticator

from common.errors import UserError
from policy.interface import Policy
from policy.remote import wire
from policy.remote.wire import Encoding, Limits, WireError
from robot_bridge.keys import server_keys
from robot_bridge.logs import fields
from robot_bridge.metrics import ServerMetrics
from robot_bridge.observation import PROPRIO, BadObservation, read_observation, read_queries
from robot_bridge.waiting import Request, Waiting

PATIENCE = 0.005
"""Seconds a computing thread keeps the door before the other one takes it."""
_READABLE = int(zmq.POLLIN)
DEFAULT_DEADLINE = 60.0
"""Seconds after which a request that names no deadline is given up."""
POLICY_ENDPOINTS = ("get_action", "predict_codes", "predict_traj")
ENDPOINTS = (*POLICY_ENDPOINTS, "ping", "metrics", "reset", "describe", "get_modality_config")

log = logging.getLogger("robot_bridge.server")


class Refused(Exception):
    """A request that gets an error for an answer: ``code`` is the word for programs."""

    def __init__(self, code: str, message: str):
        super().__init__(message)
        self.code = code


class PolicyServer:
    """Serves ``policy`` at ``bind``; ``run`` returns after ``stop``. docs/wire.md describes what clients see.

    ``max_wait`` (s) is how long a request may wait for company; ``grace`` (s) how long ``stop`` waits for the requests
    that are in; ``keys`` the folder made by ``python -m robot_bridge.keys``. ``endpoint`` tells the address that was
    bound, useful with port 0.
    """

    def __init__(
        self,
        policy: Policy,
        bind: str,
        *,
        max_batch: int = 8,
        max_wait: float = 0.002,
        token: str | None = None,
        keys: str | Path | None = None,
        limits: Limits = wire.DEFAULT_LIMITS,
        grace: float = 10.0,
    ):
        self.metrics = ServerMetrics()
        self._policy = policy
        self._max_batch = max_batch
        self._token = token
        self._limits = limits
        self._grace = grace
        self._waiting = Waiting(max_batch, max_wait)
        # One buffer for every batch: pages that are warm already, and one copy from the message to the policy.
        self._images = np.zeros((max_batch, len(policy.views), *policy.image_size, 3), np.uint8)
        self.metrics.waiting = lambda: len(self._waiting)
        self._lock = threading.RLock()  # guards the socket, the waiting requests and the two fields below
        self._door: int | None = None  # the thread that keeps the door
        self._computing_since: float | None = None
        self._stopping = False
        self._context = zmq.Context()
        self._authenticator = _only_known_clients(self._context, keys) if keys is not None else None
        self._socket = self._context.socket(zmq.ROUTER)
        self._socket.setsockopt(zmq.MAXMSGSIZE, limits.message_bytes)
        self._socket.setsockopt(zmq.SNDHWM, 64)  # what a client that never reads can pile up before it loses replies
        self._socket.setsockopt(zmq.RCVHWM, 64)
        self._socket.setsockopt(zmq.HEARTBEAT_IVL, 5000)  # a peer that vanished without a word is forgotten
        self._socket.setsockopt(zmq.HANDSHAKE_IVL, 5000)
        if keys is not None:
            self._socket.curve_publickey, self._socket.curve_secretkey = server_keys(keys)
            self._socket.curve_server = True
        try:
            self._socket.bind(bind)
        except zmq.ZMQError as error:
            self._close()
            raise UserError(f"cannot listen on {bind}: {error}; choose another --bind") from None
        self.endpoint = self._socket.getsockopt_string(zmq.LAST_ENDPOINT)
        self._wake, self._waker = socket.socketpair()
        self._wake.setblocking(False)
        self._waker.setblocking(False)

    def run(self) -> None:
        """Serves until ``stop`` is called from another thread or a signal handler."""
        self.metrics.ready = True
        threads = [threading.Thread(target=self._work, name=f"serve-{index}", daemon=True) for index in (1, 2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            while thread.is_alive() and not self._stopping:
                thread.join(timeout=0.2)  # short, so that the main thread can take signals on every platform
        ends = time.monotonic() + self._grace
        for thread in threads:
            thread.join(max(0.0, ends - time.monotonic()))
        if any(thread.is_alive() for thread in threads):  # the policy hangs; its thread dies with the process
            log.error("stopped without an answer from the policy", extra=fields(grace_s=self._grace))
            return
        self._close()

    def stop(self) -> None:
        """Answers what is in, refuses what comes, then lets ``run`` return. Safe in a signal handler."""
        self._stopping = True
        self._ring()

    def _work(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._socket.FD, selectors.EVENT_READ)
            selector.register(self._wake, selectors.EVENT_READ)
            while self._wait_for_the_door():
                batch = self._keep_the_door(selector)
                while batch:
                    self._compute(batch)
                    batch = self._next_batch()

    def _wait_for_the_door(self) -> bool:
        """True once this thread keeps the door; False when the server has stopped."""
        me = threading.get_ident()
        while True:
            with self._lock:
                since = self._computing_since
                if self._door in (None, me) or (since is not None and time.monotonic() - since > PATIENCE):
                    self._door = me
                    return not self._finished()
                if self._finished():
                    return False
            # A tick instead of a signal: to signal from the computing thread would slow every request down.
            time.sleep(PATIENCE)

    def _keep_the_door(self, selector: selectors.BaseSelector) -> list[Request]:
        """Reads and answers until a batch is due, and returns that; [] when the server has stopped."""
        while True:
            with self._lock:
                self._read_all()
                if self._computing_since is None:
                    batch = self._take_due()
                    if batch:
                        self._computing_since = time.monotonic()
                        return batch
                if self._finished():
                    return []
                due = self._waiting.due_in(time.monotonic()) if self._computing_since is None else None
            for key, _ in selector.select(timeout=1.0 if due is None else due):
                if key.fileobj is self._wake:
                    self._wake.recv(64)

    def _next_batch(self) -> list[Request]:
        """After a computation: the next batch if one is due and the other thread keeps the door."""
        with self._lock:
            batch = [] if self._door == threading.get_ident() else self._take_due()
            self._computing_since = time.monotonic() if batch else None
            if not batch and self._door != threading.get_ident():
                self._ring()  # what waits and is not due yet is the door's again
        return batch

    def _take_due(self) -> list[Request]:
        now = time.monotonic()
        due = self._waiting.due_in(now)
        if due is None or (due > 0 and not self._stopping):
            return []
        return self._waiting.take(now, lambda late: self._refuse(late, "expired", "expired before the policy was free"))

    def _finished(self) -> bool:
        return self._stopping and self._computing_since is None and not self._waiting

    def _read_all(self) -> None:
        """Takes in what has arrived. The caller holds the lock."""
        while True:
            try:
                peer, *frames = self._socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            # A REQ socket puts an empty frame before its message, and so does our client.
            self._answer(peer, frames[1:] if frames and not frames[0] else frames)

    def _answer(self, peer: bytes, frames: list[bytes]) -> None:
        """Answers one message, or lets it wait for the policy. Nothing that arrives can raise from here."""
        received = time.monotonic()
        envelope: dict[str, Any] = {}
        encoding: Encoding | None = None
        endpoint = "unknown"
        try:
            message, encoding = wire.decode(frames, self._limits)
            if not isinstance(message, dict):
                raise Refused("bad_message", "a request is a dict with 'endpoint' and 'data'")
            envelope = message
            if envelope.get("v", wire.VERSION) != wire.VERSION:
                raise Refused("version", f"this server speaks version {wire.VERSION} of the protocol")
            if self._token is not None and not _same_token(envelope.get("api_token"), self._token):
                raise Refused("unauthorized", "Unauthorized: Invalid API token")
            asked = envelope.get("endpoint", "get_action")
            if not isinstance(asked, str) or asked not in ENDPOINTS:
                raise Refused("unknown_endpoint", f"Unknown endpoint; this server has {', '.join(ENDPOINTS)}")
            endpoint = asked
            if endpoint in POLICY_ENDPOINTS:
                self._admit(peer, envelope, encoding, endpoint, received)
                return
            reply = self._at_once(peer, endpoint)
        except (Refused, WireError, BadObservation) as error:
            code = error.code if isinstance(error, Refused) else _CODES[type(error)]
            log.warning("refused", extra=fields(peer=peer.hex(), endpoint=endpoint, code=code, reason=str(error)))
            self._send(peer, envelope, encoding, {"error": str(error), "code": code})
            self.metrics.count(endpoint, code)
            return
        self._send(peer, envelope, encoding, reply)
        self.metrics.count(endpoint, "ok")

    def _admit(self, peer: bytes, envelope: dict, encoding: Encoding | None, endpoint: str, received: float) -> None:
        """Checks a request to the policy and lets it wait; an older one of the same client gives way."""
        if self._stopping:
            raise Refused("stopping", "the server is stopping")
        data = envelope.get("data")
        if not isinstance(data, dict):
            raise Refused("bad_request", "'data' must be a dict with 'observation'")
        budget = envelope.get("deadline", DEFAULT_DEADLINE)
        if isinstance(budget, bool) or not isinstance(budget, int | float) or not budget > 0:
            raise Refused("bad_request", "'deadline' must be a number of seconds above 0")
        views = self._policy.views
        # GR00T N1.5 sends the observation as the data itself.
        observation = data.get("observation", data)
        acting = endpoint == "get_action"
        inputs = read_observation(observation, views, self._policy.image_size, self._max_batch, with_state=acting)
        wants_queries = endpoint == "predict_traj"
        queries = read_queries(data.get("init_queries"), inputs.rows, len(views)) if wants_queries else None
        expires = received + min(float(budget), DEFAULT_DEADLINE)
        kept = {key: envelope[key] for key in ("v", "id", "observed_at") if key in envelope}
        kept["bare"] = "observation" not in data
        replaced = self._waiting.add(Request(peer, kept, encoding, endpoint, inputs, received, expires, queries))
        if replaced is not None:
            self._refuse(replaced, "superseded", "dropped for a newer request of the same client")

    def _at_once(self, peer: bytes, endpoint: str) -> Any:
        """The replies that need no policy."""
        policy = self._policy
        if endpoint == "ping":
            return {"status": "ok", "message": "Server is running"}
        if endpoint == "metrics":
            return {"metrics": self.metrics.text()}
        if endpoint == "describe":
            return {
                "protocol": wire.VERSION,
                "views": list(policy.views),
                "image_size": list(policy.image_size),
                "action_horizon": policy.action_horizon,
                "max_batch": self._max_batch,
                "policy": policy.describe(),
            }
        if endpoint == "reset":
            old = self._waiting.cancel(peer)  # it belongs to the episode that is over
            if old is not None:
                self._refuse(old, "superseded", "dropped by a reset of the same client")
            return {"status": "ok"}
        return {
            "video": _modality([0], list(policy.views)),
            "state": _modality([0], ["proprio"]),
            "action": _modality(list(range(policy.action_horizon)), ["action"]),
            "language": _modality([0], ["task"]),
        }

    def _compute(self, batch: list[Request]) -> None:
        """Runs the policy on a batch and answers; when a batch of several fails, each is tried alone."""
        started = time.monotonic()
        try:
            results = self._infer(batch)
        except Exception as error:
            if len(batch) > 1:
                for request in batch:
                    self._compute([request])
                return
            log.exception("the policy failed", extra=fields(peer=batch[0].peer.hex(), endpoint=batch[0].endpoint))
            self._refuse(batch[0], "policy_failed", f"the policy failed: {type(error).__name__}: {error}")
            return
        ended = time.monotonic()
        rows = sum(request.inputs.rows for request in batch)
        self.metrics.infer_seconds.observe(ended - started)
        self.metrics.batch_rows.observe(rows)
        for request, result in zip(batch, results, strict=True):
            if request.endpoint != "get_action" or request.envelope["bare"]:
                reply: Any = result
            else:
                timing = {"infer_ms": (ended - started) * 1e3, "wait_ms": (started - request.received) * 1e3}
                reply = [result, {"observed_at": request.envelope.get("observed_at"), "batch_rows": rows, **timing}]
            self._send(request.peer, request.envelope, request.encoding, reply)
            self.metrics.count(request.endpoint, "ok")
            self.metrics.request_seconds.observe(time.monotonic() - request.received)
        if log.isEnabledFor(logging.DEBUG):
            log.debug("batch", extra=fields(rows=rows, clients=len(batch), infer_s=round(ended - started, 6)))

    def _infer(self, batch: list[Request]) -> list[dict[str, np.ndarray]]:
        """One reply a request, from one call of the policy."""
        rows = 0
        for request in batch:
            request.inputs.copy_images(self._images[rows : rows + request.inputs.rows])
            rows += request.inputs.rows
        images = self._images[:rows]
        first = batch[0]
        proprio, text = first.inputs.proprio, first.inputs.text
        if first.endpoint == "predict_codes":
            indices, codes = self._policy.predict_codes(images, text)
            return [{"indices": indices, "codes": codes}]
        if first.queries is not None:
            return [{"traj": self._policy.predict_traj(images, first.queries, text)}]
        if len(batch) > 1:
            proprio = np.concatenate([request.inputs.proprio for request in batch])
            text = [line for request in batch for line in request.inputs.text]
        actions = np.asarray(self._policy.act(images, proprio, text), np.float32)
        if actions.ndim != 3 or len(actions) != len(text) or not np.isfinite(actions).all():
            raise ValueError(f"actions must be finite and ({len(text)}, horizon, d), not {actions.shape}")
        ends = np.cumsum([request.inputs.rows for request in batch])
        return [{"action": part} for part in (np.split(actions, ends[:-1]) if len(batch) > 1 else [actions])]

    def _refuse(self, request: Request, code: str, reason: str) -> None:
        self._send(request.peer, request.envelope, request.encoding, {"error": reason, "code": code})
        self.metrics.count(request.endpoint, code)

    def _send(self, peer: bytes, envelope: dict[str, Any], encoding: Encoding | None, reply: Any) -> None:
        """Sends to a client in its own encoding and envelope; a client that is gone or never reads loses it."""
        if "v" in envelope:
            encoding = Encoding.RAW
            request_id = envelope.get("id")
            head: dict[str, Any] = {"v": wire.VERSION, "id": request_id if isinstance(request_id, int | str) else None}
            reply = {**head, **reply} if isinstance(reply, dict) and "error" in reply else {**head, "reply": reply}
        frames = wire.encode(reply, encoding or Encoding.NPY)
        with self._lock:
            try:
                self._socket.send_multipart([peer, b"", *frames], zmq.NOBLOCK)
            except zmq.ZMQError as error:
                log.warning("reply lost", extra=fields(peer=peer.hex(), reason=str(error)))
            # The socket's file descriptor signals edges: after a send by the computing thread the door must look.
            if int(self._socket.getsockopt(zmq.EVENTS)) & _READABLE and self._door != threading.get_ident():
                self._ring()

    def _ring(self) -> None:
        """Wakes the thread at the door."""
        with contextlib.suppress(OSError):  # a full pipe wakes it as well
            self._waker.send(b"!")

    def _close(self) -> None:
        self._socket.close(linger=1000)
        if self._authenticator is not None:
            self._authenticator.stop()
        self._context.term()


_CODES: dict[type, str] = {WireError: "bad_message", BadObservation: "bad_request"}


def warm_up(policy: Policy, sizes: tuple[int, ...], on_size: Callable[[int, float], None] | None = None) -> None:
    """Calls the policy once a batch size, so that the first client does not wait for lazy set-up."""
    height, width = policy.image_size
    instruction = (policy.describe().get("instructions") or ["warm up"])[0]  # a policy may know no others
    for size in sizes:
        started = time.monotonic()
        images = np.zeros((size, len(policy.views), height, width, 3), np.uint8)
        policy.act(images, np.zeros((size, PROPRIO), np.float32), [instruction] * size)
        if on_size is not None:
            on_size(size, time.monotonic() - started)


def _modality(delta_indices: list[int], keys: list[str]) -> dict[str, Any]:
    return {
        "__ModalityConfig_class__": True,
        "as_json": {"delta_indices": delta_indices, "modality_keys": keys},
    }


def _same_token(given: Any, token: str) -> bool:
    return isinstance(given, str) and hmac.compare_digest(given.encode(), token.encode())


def _only_known_clients(context: zmq.Context, keys: str | Path) -> ThreadAuthenticator:
    authenticator = ThreadAuthenticator(context)
    authenticator.start()
    authenticator.configure_curve(domain="*", location=Path(keys) / "clients")
    return authenticator
