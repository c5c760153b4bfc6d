"""What a policy is, for the runner, the server and the visualizer: torch, ONNX, remote or scripted alike."""

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Text = Sequence[str] | Array
"""b instructions, or, for models that were trained on stored text embeddings, those: (b, 512) float32"""


@runtime_checkable
class Policy(Protocol):
    """Images are upright RGB, (b, v, h, w, 3), uint8 or float in [0, 1], the views in the order of ``views``.

    Proprioception is (b, 9): 7 joint positions (rad), 2 gripper finger positions (m). All results are new arrays.
    """

    @property
    def views(self) -> tuple[str, ...]: ...

    @property
    def image_size(self) -> tuple[int, int]:
        """(height, width) the policy was made for; other sizes are resized."""
        ...

    @property
    def action_horizon(self) -> int: ...

    def act(self, images: Array, proprio: Array | None, text: Text) -> NDArray[np.float32]:
        """(b, horizon, 7) actions in [-1, 1]; without proprioception zeros are assumed."""
        ...

    def predict_codes(self, images: Array, text: Text) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """indices (b, codes), code vectors (b, codes, hidden)"""
        ...

    def predict_traj(self, images: Array, init_queries: Array, text: Text) -> NDArray[np.float32]:
        """(b, v, 16, n, 2) points (row, col) in [-1, 1], from the first points ``init_queries`` (b, v, >=1, n, 2)."""
        ...

    def describe(self) -> dict[str, Any]:
        """name, hash and a summary of the configuration, for results.

        A policy for another robot than LIBERO's says under ``embodiment`` what its states and actions are
        (``common.embodiment``): its proprioception and its actions are as wide as that.
        """
        ...
