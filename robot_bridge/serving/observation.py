"""What clients send as observations, checked and turned into the policy interface's arrays.

On the wire an observation nests as ``video.<camera>`` (b, t, h, w, 3) uint8, ``state.proprio`` (b, t, 9) float32 and
``language.task`` [[str]]; of the t time steps the policy sees the last.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from common.conventions import PROPRIO_DIM as PROPRIO


class BadObservation(ValueError):
    """An observation the policy cannot take; the text names the part and what was expected there."""


@dataclass(frozen=True)
class PolicyInputs:
    """One client's arguments for the policy: a camera (b, h, w, 3) uint8 a view, proprio (b, 9), text (b strings)."""

    cameras: list[np.ndarray]
    proprio: np.ndarray
    text: list[str]

    @property
    def rows(self) -> int:
        """How many observations this is; the server batches rows of several clients."""
        return len(self.text)

    def copy_images(self, images: np.ndarray) -> None:
        """Writes the cameras into ``images`` (b, v, h, w, 3)."""
        for index, camera in enumerate(self.cameras):
            images[:, index] = camera


def read_observation(
    observation: Any, views: tuple[str, ...], image_size: tuple[int, int], max_rows: int, with_state: bool = True
) -> PolicyInputs:
    """Checks everything that arrived from outside; raises ``BadObservation``.

    ``with_state`` False is for the endpoints that look at images and text only; proprio is then zeros.
    """
    if not isinstance(observation, Mapping):
        raise BadObservation(f"'observation' must be a dict with video, state and language, not {_kind(observation)}")
    video = _group(observation, "video")
    missing = [view for view in views if view not in video]
    if missing:
        raise BadObservation(
            f"the observation lacks {', '.join('video.' + view for view in missing)}; send {list(views)}"
        )
    height, width = image_size
    cameras = []
    for view in views:
        camera = video[view]
        if not isinstance(camera, np.ndarray) or camera.dtype != np.uint8:
            raise BadObservation(f"video.{view} must be a uint8 array, not {_kind(camera)}")
        if camera.ndim != 5 or camera.shape[2:] != (height, width, 3) or 0 in camera.shape:
            raise BadObservation(f"video.{view} must be (b, t, {height}, {width}, 3), not {camera.shape}")
        cameras.append(camera[:, -1])
    rows = len(cameras[0])
    if any(len(camera) != rows for camera in cameras):
        raise BadObservation(f"the cameras disagree about b: {[len(camera) for camera in cameras]}")
    if rows > max_rows:
        raise BadObservation(f"{rows} observations in one request; this server takes at most {max_rows} (--max-batch)")
    proprio = _proprio(_group(observation, "state"), rows) if with_state else np.zeros((rows, PROPRIO), np.float32)
    return PolicyInputs(cameras, proprio, _text(_group(observation, "language"), rows))


def read_queries(queries: Any, rows: int, views: int) -> np.ndarray:
    """First points for ``policy.predict_traj``: (b, v, t, n, 2) float in [-1, 1]."""
    if not isinstance(queries, np.ndarray) or queries.dtype.kind != "f":
        raise BadObservation(f"init_queries must be a float array, not {_kind(queries)}")
    if queries.ndim != 5 or queries.shape[:2] != (rows, views) or queries.shape[4] != 2 or 0 in queries.shape:
        raise BadObservation(f"init_queries must be ({rows}, {views}, t, n, 2), not {queries.shape}")
    if not np.isfinite(queries).all():
        raise BadObservation("init_queries holds NaN or infinity")
    return queries.astype(np.float32)


def _group(observation: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """``observation["video"]``, or the flat keys ``"video.agentview"`` that GR00T N1.5 uses."""
    group = observation.get(name)
    if group is None:
        prefix = f"{name}."
        return {
            key.removeprefix(prefix): value
            for key, value in observation.items()
            if isinstance(key, str) and key.startswith(prefix)
        }
    if not isinstance(group, Mapping):
        raise BadObservation(f"'{name}' must be a dict, not {_kind(group)}")
    return group


def _proprio(state: Mapping[str, Any], rows: int) -> np.ndarray:
    values = state.get("proprio")
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "fiu":
        raise BadObservation(f"state.proprio must be an array of numbers ({rows}, t, {PROPRIO}), not {_kind(values)}")
    if values.ndim != 3 or len(values) != rows or values.shape[2] != PROPRIO or not values.shape[1]:
        raise BadObservation(f"state.proprio must be ({rows}, t, {PROPRIO}), not {values.shape}")
    latest = values[:, -1].astype(np.float32)
    if not np.isfinite(latest).all():
        raise BadObservation("state.proprio holds NaN or infinity")
    return latest


def _text(language: Mapping[str, Any], rows: int) -> list[str]:
    lines = language.get("task")
    if isinstance(lines, list | tuple) and len(lines) == rows:
        # [[str], ...] as GR00T nests it (b, t), or [str, ...]
        latest = [line[-1] if isinstance(line, list | tuple) and line else line for line in lines]
        if all(isinstance(line, str) for line in latest):
            return latest
    raise BadObservation(f"language.task must be [[str]] with {rows} entries, not {_kind(lines)}")


def _kind(value: Any) -> str:
    if value is None:
        return "missing"
    return f"{value.dtype} {value.shape}" if isinstance(value, np.ndarray) else type(value).__name__
