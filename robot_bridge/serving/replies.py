"""What goes back to a client: a reply or an error, in the envelope and the array form of its request."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from policy.remote import wire
from policy.remote.wire import Encoding, WireError
from robot_bridge.logs import fields
from robot_bridge.serving.metrics import ServerMetrics

log = logging.getLogger("robot_bridge.server")


class Refused(Exception):
    """A request that gets an error for an answer: ``code`` is the word for programs."""

    def __init__(self, code: str, message: str):
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Envelope:
    """What of a request comes back with its reply. ``ours``: it came with ``v``, so its reply gets that envelope."""

    ours: bool = False
    id: int | float | str | None = None
    observed_at: int | float | str | None = None


@dataclass(frozen=True)
class Asked:
    """Who asked for what, when (monotonic seconds), and in which form the answer goes back."""

    peer: bytes
    envelope: Envelope
    encoding: Encoding | None
    endpoint: str
    received: float


def read_envelope(message: dict[str, Any]) -> tuple[Envelope, Refused | None]:
    """The envelope of any message, as far as it can be trusted, and why the request has to be refused for it."""
    given = {name: message.get(name) for name in ("id", "observed_at")}
    sound: dict[str, Any] = {name: value for name, value in given.items() if type(value) in (int, float, str)}
    envelope = Envelope("v" in message, **sound)
    version = message.get("v", wire.VERSION)
    if type(version) is not int or version != wire.VERSION:
        return envelope, Refused("version", f"this server speaks version {wire.VERSION} of the protocol")
    for name, value in given.items():
        if value is not None and name not in sound:
            return envelope, Refused("bad_request", f"'{name}' must be a number or a text")
    return envelope, None


class Replies:
    """Encodes and counts answers, and sends them with ``send(peer, frames)``. May be used from any thread."""

    def __init__(self, send: Callable[[bytes, list[bytes]], None], metrics: ServerMetrics):
        self._send = send
        self._metrics = metrics

    def answer(self, asked: Asked, reply: Any) -> None:
        """A good answer; one that cannot travel becomes an error."""
        envelope = asked.envelope
        try:
            if envelope.ours:
                frames = wire.encode({"v": wire.VERSION, "id": envelope.id, "reply": reply}, Encoding.RAW)
            else:
                frames = wire.encode(reply, asked.encoding or Encoding.NPY)
        except WireError as error:
            log.exception("an answer cannot travel", extra=fields(endpoint=asked.endpoint))
            self.refuse(asked, "internal", f"the answer cannot travel: {error}")
            return
        self._send(asked.peer, frames)
        self._metrics.count(asked.endpoint, "ok")

    def refuse(self, asked: Asked, code: str, reason: str) -> None:
        """An error, which any client can read."""
        error: dict[str, Any] = {"error": reason.encode("utf-8", "replace").decode(), "code": code}
        if asked.envelope.ours:
            error |= {"v": wire.VERSION, "id": asked.envelope.id}
        self._send(asked.peer, wire.encode(error, Encoding.NPY))
        self._metrics.count(asked.endpoint, code)
