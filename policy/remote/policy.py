"""The policy interface over the wire: evaluates, or drives a robot with, whatever is behind an address."""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.conventions import PROPRIO_DIM
from common.errors import UserError
from policy.interface import Array, Plan, Text
from policy.remote.client import RemotePolicyError
from policy.remote.opening import open_client


class RemotePolicy:
    """``policy.interface.Policy`` behind ``address``; errors are ``RemotePolicyError``.

    ``address`` may be of any protocol (``policy.remote.address``). A GR00T server asked by ``tcp://`` cannot say what
    it is; give ``views``, ``image_size`` (h, w) and ``action_horizon`` then.
    What its reply calls its actions does not matter: they are joined along the last axis in the order it sends them.
    """

    def __init__(
        self,
        address: str,
        *,
        views: Sequence[str] | None = None,
        image_size: tuple[int, int] | None = None,
        action_horizon: int | None = None,
        **client_options: Any,
    ):
        self._client = open_client(address, **client_options)
        described = {} if views and image_size and action_horizon else self._client.describe()
        self._about: dict[str, Any] = described.get("policy", {})
        self._max_batch = int(described.get("max_batch", 1))
        self.views: tuple[str, ...] = tuple(views or described["views"])
        height, width = image_size or described["image_size"]
        self.image_size = (int(height), int(width))
        self.action_horizon = int(action_horizon or described["action_horizon"])

    def act(self, images: Array, proprio: Array | None, text: Text, plan: Plan | None = None) -> NDArray[np.float32]:
        """Actions (b, horizon, 7) for images (b, v, h, w, 3) uint8 or in [0, 1], proprio (b, 9), text b strings.

        ``plan``, of the batch, is for servers whose policy inpaints.
        """
        state = np.zeros((len(images), PROPRIO_DIM), np.float32) if proprio is None else np.asarray(proprio, np.float32)
        rows = [slice(start, start + self._max_batch) for start in range(0, len(images), self._max_batch)]
        plans = [None if plan is None else Plan(plan.actions[some], plan.weights[some]) for some in rows]
        answers = [self._act(images[i], state[i], text[i], part) for i, part in zip(rows, plans, strict=True)]
        return np.concatenate(answers)

    def predict_codes(self, images: Array, text: Text) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Motion code indices (b, 15) and codes (b, 15, hidden)."""
        reply = self._client.call("predict_codes", {"observation": self._observation(images, text)})
        return reply["indices"], reply["codes"]

    def predict_traj(self, images: Array, init_queries: Array, text: Text) -> NDArray[np.float32]:
        """Tracks (b, v, 16, n, 2) in [-1, 1], (row, col), from the query points."""
        data = {"observation": self._observation(images, text), "init_queries": np.asarray(init_queries, np.float32)}
        return self._client.call("predict_traj", data)["traj"]

    def describe(self) -> dict[str, Any]:
        """The server's description of its policy, and where it was reached."""
        return {"name": "remote", "hash": "unknown", **self._about, "address": self._client.address}

    def close(self) -> None:
        """Drops the connection."""
        self._client.close()

    def _act(self, images: Array, proprio: Array, text: Text, plan: Plan | None) -> NDArray[np.float32]:
        observation = self._observation(images, text) | {"state": {"proprio": proprio[:, None]}}
        action, info = self._client.get_action(observation, plan=plan)
        if isinstance(info.get("warning"), str):
            warnings.warn(info["warning"], stacklevel=2)  # shown once for each text
        parts = [part for part in action.values() if isinstance(part, np.ndarray) and part.ndim == 3]
        if not parts or any(len(part) != len(images) for part in parts):
            raise RemotePolicyError(f"{self._client.address} sent no actions ({len(images)}, horizon, d)", "protocol")
        return np.concatenate(parts, axis=-1).astype(np.float32)

    def _observation(self, images: Array, text: Text) -> dict[str, Any]:
        if isinstance(text, np.ndarray):
            raise UserError("a served policy takes instructions as text, not as stored embeddings")
        pixels = np.asarray(images)
        if pixels.dtype != np.uint8:
            pixels = np.round(np.clip(pixels, 0, 1) * 255).astype(np.uint8)
        return {
            "video": {view: pixels[:, index, None] for index, view in enumerate(self.views)},
            "language": {"task": [[str(line)] for line in text]},
        }
