"""A client for openpi's websocket servers: metadata on connect, then a message a request (docs/wire.md, "openpi").

It needs the package websockets. Answers carry no number there, so a connection on which one is late is replaced.
"""

import time
from typing import TYPE_CHECKING, Any

import numpy as np

from common.conventions import PROPRIO_DIM, VIEWS
from common.errors import UserError
from policy.interface import Plan
from policy.remote import wire
from policy.remote.address import Address
from policy.remote.client import RemotePolicyError
from policy.remote.names import ACTION, STATE, TASK, Names
from policy.remote.wire import Encoding

if TYPE_CHECKING:
    from websockets.sync.client import ClientConnection

LIBERO_NAMES = Names(
    cameras={"agentview": "observation/image", "eye_in_hand": "observation/wrist_image"},
    state=(("observation/state", None),),
    task="prompt",
    action=(("actions", None),),
)
"""What openpi's LIBERO policies and clients call things."""
IMAGE_SIZE = (224, 224)


class OpenpiClient:
    """Asks the server of ``openpi://HOST:PORT``; ``token`` travels as ``Authorization: Api-Key TOKEN``.

    Our own servers say in their metadata what they are. Any other is asked once about a black picture, to learn how
    many actions a chunk has; which cameras it wants, the address says (``policy.remote.address``), or it is as LIBERO's
    do.
    """

    def __init__(self, address: str, *, timeout: float = 5.0, token: str | None = None):
        place = Address.read(address)
        self.address = address
        self.timeout = timeout
        self._uri = f"ws://{place.place}"
        self._headers = {} if token is None else {"Authorization": f"Api-Key {token}"}
        self._names = Names.read(place.renames, VIEWS, LIBERO_NAMES)
        self._given_size = place.image_size
        self._connection: ClientConnection | None = None
        self._metadata: dict[str, Any] = {}
        self._horizon: int | None = None

    def describe(self) -> dict[str, Any]:
        """Views, image size, horizon and policy: from the metadata, from the address, or by asking once."""
        self._connect(time.monotonic() + self.timeout)
        about = {"name": "openpi's protocol", "hash": "unknown"}
        views = [str(view) for view in self._metadata.get("views", VIEWS)]
        size = list(self._given_size or self._metadata.get("image_size", IMAGE_SIZE))
        described = {"views": views, "image_size": size, "policy": self._metadata.get("policy", about)}
        if "embodiment" in self._metadata:
            described["embodiment"] = self._metadata["embodiment"]
        if self._horizon is None:
            self._horizon = self._metadata.get("action_horizon") or self._ask_horizon(views, size)
        return described | {"action_horizon": self._horizon}

    def get_action(
        self, observation: dict[str, Any], *, observed_at: float | None = None, plan: Plan | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """``{"action": (b, horizon, d)}``; the b observations are asked one after the other."""
        ends = time.monotonic() + self.timeout
        rows, milliseconds = [], 0.0
        for row, instruction in enumerate(observation["language"][TASK]):
            request: dict[str, Any] = {
                self._names.camera(view): images[row, -1] for view, images in observation["video"].items()
            }
            request |= self._names.split_state(np.asarray(observation["state"][STATE][row, -1], np.float32))
            request[self._names.task] = instruction[-1]
            reply = self._ask(request, ends)
            rows.append(self._actions(reply))
            timing = reply.get("server_timing") or reply.get("policy_timing") or {}
            milliseconds += float(timing.get("infer_ms", 0.0))
        return {ACTION: np.stack(rows)}, {"infer_ms": milliseconds, "observed_at": observed_at}

    def ping(self) -> bool:
        """True when the server's end of the connection answers; False when it does not within the time-out."""
        ends = time.monotonic() + self.timeout
        try:
            return self._connect(ends).ping().wait(_left(ends))
        except RemotePolicyError as error:
            if error.code == "timeout":
                return False
            raise

    def call(self, endpoint: str, data: dict[str, Any] | None = None) -> Any:
        """openpi's protocol has no endpoints: always ``RemotePolicyError``."""
        raise RemotePolicyError(f"openpi's protocol knows no {endpoint}; ask {self.address} by tcp://", "protocol")

    def close(self) -> None:
        """Drops the connection; the next call would open a new one."""
        if self._connection is not None:
            self._connection.close_timeout = 0.2  # a server that is busy need not agree
            self._connection.close()
            self._connection = None

    def _actions(self, reply: dict[str, Any]) -> np.ndarray:
        """(horizon, d), from the parts that the reply calls so."""
        parts = [reply.get(name) for name, _ in self._names.action]
        arrays = [part for part in parts if isinstance(part, np.ndarray) and part.ndim == 2]
        if len(arrays) != len(parts):
            wanted = ", ".join(name for name, _ in self._names.action)
            raise RemotePolicyError(f"{self.address} sent no {wanted} (horizon, d), but {sorted(reply)}", "protocol")
        return np.concatenate(arrays, axis=-1).astype(np.float32)

    def _ask_horizon(self, views: list[str], size: list[int]) -> int:
        black = np.zeros((1, 1, *size, 3), np.uint8)
        observation = {
            "video": dict.fromkeys(views, black),
            "state": {STATE: np.zeros((1, 1, PROPRIO_DIM), np.float32)},
            "language": {TASK: [["do nothing"]]},
        }
        return self.get_action(observation)[0][ACTION].shape[1]

    def _ask(self, request: dict[str, Any], ends: float) -> dict[str, Any]:
        from websockets.exceptions import WebSocketException

        connection = self._connect(ends)
        try:
            connection.send(wire.encode(request, Encoding.OPENPI)[0])
            return self._read(connection.recv(_left(ends)))
        except TimeoutError:
            self.close()
            text = f"no answer from {self.address} within {self.timeout:g} s; is the server running?"
            raise RemotePolicyError(text, "timeout") from None
        except (WebSocketException, OSError) as error:
            self.close()
            raise RemotePolicyError(f"the connection to {self.address} broke: {error}", "timeout") from None

    def _connect(self, ends: float) -> "ClientConnection":
        """The connection, and the metadata that came first."""
        if self._connection is not None:
            return self._connection
        try:
            from websockets.exceptions import InvalidStatus, WebSocketException
            from websockets.sync.client import connect
        except ImportError:
            raise UserError("openpi:// needs the package websockets: pip install 'amplify-deploy[openpi]'") from None
        try:
            connection = connect(
                self._uri,
                compression=None,
                additional_headers=self._headers,
                proxy=None,
                legacy=True,  # a connection that outlives this call
                open_timeout=_left(ends),
                max_size=wire.DEFAULT_LIMITS.message_bytes,
            )
            self._connection = connection
            self._metadata = self._read(connection.recv(_left(ends)))
        except InvalidStatus as error:
            body = error.response.body.decode("utf-8", "replace").strip()
            code = "unauthorized" if error.response.status_code == 401 else "error"
            raise RemotePolicyError(f"{self.address}: {error.response.status_code} {body}", code) from None
        except (WebSocketException, OSError) as error:  # TimeoutError is one of the latter
            self.close()
            raise RemotePolicyError(f"no policy server at {self.address}: {error or 'no answer'}", "timeout") from None
        return connection

    def _read(self, message: str | bytes) -> dict[str, Any]:
        """A reply, or metadata; text is an error."""
        if isinstance(message, str):
            raise RemotePolicyError(f"{self.address}: {message}", "error")
        try:
            reply, _ = wire.decode([message])
        except wire.WireError as error:
            raise RemotePolicyError(f"{self.address} sent what cannot be read: {error}", "protocol") from None
        if not isinstance(reply, dict):
            raise RemotePolicyError(f"{self.address} sent a {type(reply).__name__}, not a map", "protocol")
        return reply


def _left(ends: float) -> float:
    """Seconds until ``ends``; never 0, which would mean not to wait at all for what has come already."""
    return max(0.001, ends - time.monotonic())
