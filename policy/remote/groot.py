"""A client for Isaac-GR00T's servers: their envelope is ours, their names and what they tell of themselves are not.

``get_modality_config`` says which cameras, state, action and instruction they know (docs/wire.md, "Isaac-GR00T").
"""

from typing import Any

import numpy as np

from common.conventions import VIEWS
from common.errors import UserError
from policy.interface import Plan
from policy.remote.address import Address
from policy.remote.client import PolicyClient, RemotePolicyError
from policy.remote.names import STATE, TASK, Names
from policy.remote.wire import Encoding

ENCODINGS = {"1.5": Encoding.NPY, "1.6": Encoding.NPY, "1.7": Encoding.NUMPY_BYTES}
IMAGE_SIZE = (256, 256)
"""Of images that are sent; these servers resize them to what their policy was trained with."""


class GrootClient:
    """Asks the server of ``groot://HOST:PORT``; ``release`` in the address is 1.5, 1.6 (default) or 1.7.

    ``client_options`` are those of ``PolicyClient``.
    """

    def __init__(self, address: str, **client_options: Any):
        place = Address.read(address)
        self._release = place.release or "1.6"
        if self._release not in ENCODINGS:
            raise UserError(f"{address}: release is {', '.join(ENCODINGS)}, not {self._release}")
        self.address = address
        self._image_size = place.image_size or IMAGE_SIZE
        self._renames = place.renames
        self._asked: tuple[Names, tuple[str, ...], int] | None = None
        self._client = PolicyClient(f"tcp://{place.place}", encoding=ENCODINGS[self._release], **client_options)

    @property
    def timeout(self) -> float:
        """Seconds for one whole call."""
        return self._client.timeout

    @timeout.setter
    def timeout(self, seconds: float) -> None:
        self._client.timeout = seconds

    def describe(self) -> dict[str, Any]:
        """Views, image size and horizon, as far as the server's modality configuration tells them."""
        _, views, horizon = self._modalities()
        about = {"name": f"GR00T N{self._release}'s protocol", "hash": "unknown"}
        return {"views": list(views), "image_size": list(self._image_size), "action_horizon": horizon, "policy": about}

    def get_action(
        self, observation: dict[str, Any], *, observed_at: float | None = None, plan: Plan | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """The action's parts, each (b, horizon, d), in the order of the modality configuration."""
        names, _, _ = self._modalities()
        groups = {
            "video": {names.camera(view): images for view, images in observation["video"].items()},
            "state": names.split_state(np.asarray(observation["state"][STATE], np.float32)),
        }
        instructions = observation["language"][TASK]
        if self._release == "1.5":
            flat = {f"{group}.{name}": part for group, parts in groups.items() for name, part in parts.items()}
            reply = self._client.call("get_action", flat | {names.task: [line[-1] for line in instructions]})
        else:
            data = {"observation": {**groups, "language": {names.task: instructions}}, "options": None}
            reply = self._client.call("get_action", data)
        action, info = reply if isinstance(reply, list) and len(reply) == 2 else (reply, {})
        if not isinstance(action, dict) or not isinstance(info, dict):
            raise RemotePolicyError(f"{self.address} answered get_action with {type(reply).__name__}", "protocol")
        bare = {name.removeprefix("action."): part for name, part in action.items()}
        missing = [name for name, _ in names.action if name not in bare]
        if missing:
            raise RemotePolicyError(f"{self.address} sent no action {', '.join(missing)}", "protocol")
        return {name: bare[name] for name, _ in names.action}, info

    def ping(self) -> bool:
        """True when the server answers; False when it does not within the time-out."""
        return self._client.ping()

    def call(self, endpoint: str, data: dict[str, Any] | None = None) -> Any:
        """Another endpoint of the server."""
        return self._client.call(endpoint, data)

    def close(self) -> None:
        """Drops the connection; the next call would open a new one."""
        self._client.close()

    def _modalities(self) -> tuple[Names, tuple[str, ...], int]:
        """Names, views and action horizon; the server is asked once."""
        if self._asked is None:
            config = self._client.get_modality_config()
            try:
                keys = {
                    group: [key.removeprefix(f"{group}.") for key in config[group]["modality_keys"]]
                    for group in ("video", "state", "action", "language")
                }
                horizon = len(config["action"]["delta_indices"])
            except (KeyError, TypeError, AttributeError) as error:
                text = f"{self.address}: get_modality_config lacks what GR00T's have: {error!r}; is it a GR00T server?"
                raise RemotePolicyError(text, "protocol") from None
            self._asked = *self._names(keys), horizon
        return self._asked

    def _names(self, keys: dict[str, list[str]]) -> tuple[Names, tuple[str, ...]]:
        """What the server calls things: as the address says, else what its configuration lists."""
        default = Names(
            state=tuple((key, None) for key in keys["state"]) or Names().state,
            task=keys["language"][0] if len(keys["language"]) == 1 else TASK,
            action=tuple((key, None) for key in keys["action"]),
        )
        known = {theirs: ours for ours, theirs in (rename.split("=", 1) for rename in self._renames if "=" in rename)}
        views = tuple(known.get(camera, camera) for camera in keys["video"])
        names = Names.read(self._renames, tuple(dict.fromkeys((*VIEWS, *views))), default)
        if len(names.state) > 1 and any(width is None for _, width in names.state):
            parts = "+".join(f"{key}:WIDTH" for key in keys["state"])
            raise UserError(f"{self.address}: the state has parts; write ?{STATE}={parts}, 9 numbers together")
        return names, views
