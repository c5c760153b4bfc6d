"""A client for policy servers over ZeroMQ: ours, and Isaac-GR00T's.

Needs numpy, pyzmq and msgpack only. Every call ends within its time-out, and a late reply can never be taken for
another request's: with our server it is known by its number, with any other the connection is replaced.
"""

import itertools
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import zmq
import zmq.auth

from common.errors import UserError
from policy.interface import Plan
from policy.remote import wire
from policy.remote.wire import Encoding

SILENT_CALLS = 2
"""Calls in a row without any answer after which a connection to our server is replaced.

Not after one: what was lost may have been a single message, and to connect anew takes several round trips.
"""


class RemotePolicyError(UserError):
    """The server did not answer in time, or answered with an error. ``code`` is one word for programs.

    Codes of our server: see ``docs/wire.md``. Codes made here: ``timeout``, ``protocol``, ``error`` (a server that is
    not ours sends no code).
    """

    def __init__(self, message: str, code: str):
        super().__init__(message)
        self.code = code


class PolicyClient:
    """Asks the policy server at ``address`` for actions. Belongs to one thread.

    >>> with PolicyClient("tcp://127.0.0.1:5555") as client:                             # doctest: +SKIP
    ...     action, info = client.get_action({
    ...         "video": {"agentview": agentview, "eye_in_hand": eye_in_hand},           # (b, 1, h, w, 3) uint8
    ...         "state": {"proprio": proprio},                                           # (b, 1, 9) float32
    ...         "language": {"task": [["pick up the milk"]]}})
    ...     action["action"]                                                             # (b, 16, 7) float32

    ``timeout`` is in seconds, for one whole call. ``encoding`` None asks the server once which one it speaks: raw
    buffers with ours, GR00T's npy with any other; name it for a server that only knows msgpack-numpy. ``token`` is the
    API token; ``keys`` is the secret key file of this client made by ``python -m robot_bridge.keys`` and
    ``server_key`` the server's public one (CURVE encryption needs both). ``context`` is that of a server in this
    process, for its ``inproc://`` address.
    """

    def __init__(
        self,
        address: str,
        *,
        timeout: float = 5.0,
        token: str | None = None,
        keys: str | Path | None = None,
        server_key: str | Path | None = None,
        encoding: Encoding | str | None = None,
        jpeg_quality: int | None = None,
        context: zmq.Context | None = None,
    ):
        if (keys is None) != (server_key is None):
            raise UserError("encryption needs both keys: the client's secret key file and the server's public one")
        self.address = address
        self.timeout = timeout
        self._token = token
        self._curve = (
            None if keys is None or server_key is None else (_load_key(keys, True), _load_key(server_key, False))
        )
        self._encoding = Encoding(encoding) if encoding is not None else None
        self._jpeg_quality = jpeg_quality
        self._request_ids = itertools.count(1)
        self._context: zmq.Context = context or zmq.Context.instance()
        self._socket: zmq.Socket | None = None
        self._silent_calls = 0

    def get_action(
        self,
        observation: Mapping[str, Any],
        options: Mapping[str, Any] | None = None,
        *,
        observed_at: float | None = None,
        deadline: float | None = None,
        plan: Plan | None = None,
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """``(action, info)`` for ``observation`` as ``docs/wire.md`` nests it.

        ``observed_at`` is the caller's own time stamp; the server returns it untouched in ``info``. A request that is
        ``deadline`` seconds old is answered as expired instead of computed (default: the time-out). ``plan``, of the
        batch, is what a policy that inpaints is to go on with; it travels as the option of that name.
        """
        if plan is not None:
            options = {**(options or {}), "plan": {"actions": plan.actions, "weights": plan.weights}}
        data = {"observation": observation, "options": options}
        reply = self.call("get_action", data, observed_at=observed_at, deadline=deadline)
        if isinstance(reply, dict):  # GR00T N1.5 answers with the bare action
            return reply, {}
        if isinstance(reply, list) and len(reply) == 2 and all(isinstance(part, dict) for part in reply):
            return reply[0], reply[1]
        raise RemotePolicyError(f"{self.address} answered get_action with {type(reply).__name__}", "protocol")

    def ping(self) -> bool:
        """True when the server answers; False when it does not within the time-out."""
        try:
            reply = self.call("ping")
        except RemotePolicyError as error:
            if error.code == "timeout":
                return False
            raise
        return isinstance(reply, dict) and reply.get("status") == "ok"

    def reset(self, options: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Tells the server that a new episode begins."""
        return self.call("reset", {"options": options})

    def get_modality_config(self) -> dict[str, Any]:
        """Which cameras, states and actions the policy has."""
        return self.call("get_modality_config")

    def describe(self) -> dict[str, Any]:
        """Our servers' description of the policy: views, image_size, action_horizon, policy."""
        return self.call("describe")

    def call(
        self,
        endpoint: str,
        data: Mapping[str, Any] | None = None,
        *,
        observed_at: float | None = None,
        deadline: float | None = None,
    ) -> Any:
        """Any endpoint; ``RemotePolicyError`` when there is no good answer within the time-out."""
        ends = time.monotonic() + self.timeout
        if self._encoding is None:
            self._encoding = self._negotiate(ends)
        budget = self.timeout if deadline is None else deadline
        return self._exchange(endpoint, data, self._encoding, ends, observed_at, budget)

    def close(self) -> None:
        """Drops the connection; the next call would open a new one."""
        if self._socket is not None:
            self._socket.close(linger=0)
            self._socket, self._silent_calls = None, 0

    def __enter__(self) -> "PolicyClient":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _negotiate(self, ends: float) -> Encoding:
        try:
            reply = self._exchange("describe", None, Encoding.NPY, ends, None, self.timeout)
        except RemotePolicyError as error:
            if error.code == "error":  # a server that is not ours has no such endpoint, and no codes
                return Encoding.NPY
            raise
        ours = isinstance(reply, dict) and reply.get("protocol") == wire.VERSION
        return Encoding.RAW if ours else Encoding.NPY

    def _exchange(
        self,
        endpoint: str,
        data: Mapping[str, Any] | None,
        encoding: Encoding,
        ends: float,
        observed_at: float | None,
        deadline: float,
    ) -> Any:
        request: dict[str, Any] = {"endpoint": endpoint}
        if data is not None:
            request["data"] = data
        if self._token is not None:
            request["api_token"] = self._token
        request_id = None
        if encoding is Encoding.RAW:
            request_id = next(self._request_ids)
            request |= {"v": wire.VERSION, "id": request_id, "deadline": deadline}
            if observed_at is not None:
                request["observed_at"] = observed_at
        socket = self._open()
        frames = wire.encode(request, encoding, self._jpeg_quality)
        socket.setsockopt(zmq.SNDTIMEO, _milliseconds_until(ends))
        sent = False
        try:
            socket.send_multipart([b"", *frames])
            sent = True
            while True:
                if not socket.poll(_milliseconds_until(ends)):
                    raise zmq.Again
                received = socket.recv_multipart()
                self._silent_calls = 0
                reply = self._read(received, request_id)
                if reply is not None:
                    break
        except zmq.Again:
            self._silent_calls += sent  # what could not be sent is not answered: the connection is still being made
            if (sent and request_id is None) or self._silent_calls >= SILENT_CALLS:
                self.close()
            hint = "" if self._curve is None else " (wrong keys look like this too)"
            text = (
                f"no answer from {self.address} to {endpoint} within {self.timeout:g} s{hint}; is the server running?"
            )
            raise RemotePolicyError(text, "timeout") from None
        except BaseException:
            self.close()  # half a conversation is worth nothing; the next call starts clean
            raise
        if isinstance(reply, dict) and "error" in reply:
            raise RemotePolicyError(f"{self.address}: {reply['error']}", str(reply.get("code", "error")))
        return reply["reply"] if request_id is not None else reply

    def _read(self, frames: list[bytes], request_id: int | None) -> Any:
        """The decoded reply, or None when it belongs to another request."""
        if len(frames) < 2 or frames[1] == b"ERROR":
            raise RemotePolicyError(f"{self.address} answered with an error and no reason", "error")
        try:
            reply, _ = wire.decode(frames[1:])
        except wire.WireError as error:
            raise RemotePolicyError(f"{self.address} sent what cannot be read: {error}", "protocol") from None
        if request_id is None:
            return reply
        if not isinstance(reply, dict) or not ("reply" in reply or "error" in reply):
            raise RemotePolicyError(f"{self.address} sent a reply without an envelope", "protocol")
        return reply if reply.get("id") == request_id else None

    def _open(self) -> zmq.Socket:
        if self._socket is None:
            socket = self._context.socket(zmq.DEALER)
            socket.setsockopt(zmq.LINGER, 0)
            socket.setsockopt(zmq.IMMEDIATE, 1)  # a server that comes back must not find a queue of old requests
            socket.setsockopt(zmq.IPV6, "[" in self.address)
            socket.setsockopt(zmq.RECONNECT_IVL, 100)
            socket.setsockopt(zmq.RECONNECT_IVL_MAX, 2000)  # the back-off doubles up to 2 s
            socket.setsockopt(zmq.MAXMSGSIZE, wire.DEFAULT_LIMITS.message_bytes)
            if self._curve is not None:
                (public, secret), (server, _) = self._curve
                socket.curve_publickey, socket.curve_secretkey, socket.curve_serverkey = public, secret, server
            try:
                socket.connect(self.address)
            except zmq.ZMQError as error:
                socket.close()
                raise UserError(f"cannot connect to {self.address!r}: {error}; write tcp://HOST:PORT") from None
            self._socket = socket
        return self._socket


def _load_key(path: str | Path, secret: bool) -> tuple[bytes, bytes | None]:
    try:
        public, private = zmq.auth.load_certificate(path)
    except (OSError, ValueError) as error:
        raise UserError(
            f"cannot read the key file {path}: {error}; make one with 'python -m robot_bridge.keys'"
        ) from None
    if secret and private is None:
        raise UserError(f"{path} holds no secret key; give the client's file that ends in .key_secret")
    return public, private


def _milliseconds_until(ends: float) -> int:
    return max(0, int((ends - time.monotonic()) * 1000))
