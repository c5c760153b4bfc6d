"""A second door for openpi's websocket clients; what they ask goes in by the first, as a client's request in our words.

So their requests wait in the same line, are batched with everyone's, and are counted and logged like them. A connection
is a thread. docs/wire.md ("openpi") has what travels.
"""

import hmac
import logging
import threading
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

import numpy as np

from common.errors import UserError
from policy.remote import wire
from policy.remote.client import PolicyClient
from policy.remote.names import ACTION, STATE, TASK, Names
from policy.remote.wire import Encoding

CONNECTIONS = 64
"""At a time; more are told to come back later."""

log = logging.getLogger("robot_bridge.server")


class OpenpiDoor:
    """Listens at ``host``:``port`` in threads of its own, from ``start`` to ``close``.

    ``client`` makes a client of the server behind, ``describe`` says what it serves, ``unhealthy`` why it does not;
    ``token`` is what ``Authorization: Api-Key`` has to bring. ``port`` 0 takes a free one, ``port`` then tells it.

    Raises:
        UserError: the port cannot be had, or the package websockets is missing.
    """

    def __init__(
        self,
        host: str,
        port: int,
        names: Names,
        client: Callable[[], PolicyClient],
        describe: Mapping[str, Any],
        unhealthy: Callable[[], str | None],
        token: str | None = None,
    ):
        try:
            from websockets.sync.server import serve
        except ImportError:
            raise UserError("--openpi needs the package websockets: pip install 'amplify-deploy[openpi]'") from None
        self._names, self._client, self._unhealthy = names, client, unhealthy
        self._views = tuple(describe["views"])
        self._metadata = wire.encode(dict(describe), Encoding.OPENPI)[0]
        self._authorization = None if token is None else f"Api-Key {token}".encode()
        self._places = threading.BoundedSemaphore(CONNECTIONS)
        try:
            self._server = serve(
                self._converse,
                host,
                port,
                process_request=self._admit,
                compression=None,
                max_size=wire.DEFAULT_LIMITS.message_bytes,
                max_queue=2,
                open_timeout=5,
                close_timeout=1,
                logger=logging.getLogger("robot_bridge.openpi"),
            )
        except OSError as error:
            raise UserError(f"cannot listen on {host}:{port}: {error.strerror}; choose another --openpi") from None
        self.port = int(self._server.socket.getsockname()[1])
        self._thread = threading.Thread(target=self._server.serve_forever, name="openpi", daemon=True)

    def start(self) -> None:
        """Lets clients in."""
        self._thread.start()

    def close(self) -> None:
        """Ends all connections; what is being computed is still answered."""
        if self._thread.is_alive():
            self._server.shutdown()
        else:
            self._server.socket.close()

    def _admit(self, connection: Any, request: Any) -> Any:
        """Answers ``/healthz`` and refuses strangers; None lets the connection begin."""
        if request.path == "/healthz":
            reason = self._unhealthy()
            if reason is None:
                return connection.respond(HTTPStatus.OK, "OK\n")
            return connection.respond(HTTPStatus.SERVICE_UNAVAILABLE, f"{reason}\n")
        if self._authorization is not None:
            shown = request.headers.get("Authorization", "").encode()
            if not hmac.compare_digest(shown, self._authorization):
                return connection.respond(HTTPStatus.UNAUTHORIZED, "send the header 'Authorization: Api-Key TOKEN'\n")
        return None

    def _converse(self, connection: Any) -> None:
        """One client: metadata, then a reply for each request, or a text that says what is wrong with it."""
        from websockets.exceptions import ConnectionClosed

        if not self._places.acquire(blocking=False):
            connection.close(1013, f"{CONNECTIONS} clients are connected")
            return
        try:
            with self._client() as client:
                connection.send(self._metadata)
                total: float | None = None
                for message in connection:
                    started = time.monotonic()
                    try:
                        connection.send(self._answer(client, message, total))
                    except UserError as error:
                        log.warning("refused an openpi client: %s", error)
                        connection.send(str(error))
                    total = (time.monotonic() - started) * 1e3
        except ConnectionClosed:
            log.debug("an openpi client is gone")
        finally:
            self._places.release()

    def _answer(self, client: PolicyClient, message: bytes | str, last_total: float | None) -> bytes:
        """The reply to one observation, or ``UserError``; ``last_total`` is how many ms the one before took."""
        if isinstance(message, str):
            raise UserError("an observation is a binary message")
        observation, _ = wire.decode([message])
        if not isinstance(observation, dict):
            raise UserError("an observation is a map")
        action, info = client.get_action(self._read(observation))
        reply: dict[str, Any] = self._names.split(action[ACTION][0])
        timing = {"infer_ms": info["infer_ms"] + info["wait_ms"]}
        reply["policy_timing"] = {"infer_ms": info["infer_ms"]}
        reply["server_timing"] = timing if last_total is None else timing | {"prev_total_ms": last_total}
        if "warning" in info:
            reply["warning"] = info["warning"]
        return wire.encode(reply, Encoding.OPENPI)[0]

    def _read(self, observation: Mapping[Any, Any]) -> dict[str, Any]:
        """One observation in their names as one in ours with a b of 1; the server behind checks what is in it."""
        video = {}
        for view in self._views:
            name = self._names.camera(view)
            image = observation.get(name, observation.get(view))
            if not isinstance(image, np.ndarray) or image.ndim != 3:
                raise UserError(f"{name} must be an image (h, w, 3) uint8, not {_kind(image)}")
            video[view] = image[None, None]
        ours = STATE in observation
        parts = {name: observation.get(name) for name in ([STATE] if ours else self._names.state_names)}
        for name, part in parts.items():
            if not isinstance(part, np.ndarray) or part.ndim > 1:
                raise UserError(f"{name} must be an array of numbers (d,), not {_kind(part)}")
        state = np.concatenate([np.atleast_1d(part) for part in parts.values() if part is not None])
        instruction = observation.get(self._names.task, observation.get(TASK))
        return {"video": video, "state": {STATE: state[None, None]}, "language": {TASK: [[instruction]]}}


def _kind(value: Any) -> str:
    if value is None:
        return "missing"
    return f"{value.dtype} {value.shape}" if isinstance(value, np.ndarray) else type(value).__name__
