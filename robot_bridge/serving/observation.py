"""What clients send as observations, checked and turned into the policy interface's arrays.

On the wire an observation nests as ``video.<camera>`` (b, t, h, w, 3) uint8, ``state.<part>`` (b, t, d) and
``language.<any>`` [[str]]; of the t time steps the policy sees the last. GR00T N1.5's clients send it flat,
``"video.<camera>"`` (t, h, w, 3) and so on, with or without b.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from common.embodiment import LIBERO, Embodiment
from policy.interface import Plan
from policy.remote.names import STATE, TASK, Names
from robot_bridge.resize import resize

PLAUSIBLE = 1000.0
"""No joint position (rad) and no finger position (m) is beyond this."""
IMAGE_SIDES = range(8, 4097)
TEXT_LENGTH = 1000


class BadObservation(ValueError):
    """An observation the policy cannot take; the text names the part and what was expected there."""


@dataclass(frozen=True)
class InputSpec:
    """What the policy takes: its views, their size (h, w), rows in one request at most, and clients' names for it all.

    ``embodiment`` says which numbers its state has. ``tracks`` is how many query points ``predict_traj`` needs; None
    when the policy does not say. ``horizon`` is that of its chunks where the policy goes on with plans, else None.
    """

    views: tuple[str, ...]
    image_size: tuple[int, int]
    max_rows: int
    names: Names = field(default_factory=Names)
    tracks: int | None = None
    embodiment: Embodiment = LIBERO
    horizon: int | None = None


@dataclass(frozen=True)
class PolicyInputs:
    """One client's arguments for the policy: a camera (b, h, w, 3) uint8 a view, proprio (b, d), text (b strings).

    ``batched`` False: the client sent one observation without the b, and wants its actions so.
    """

    cameras: list[np.ndarray]
    proprio: np.ndarray
    text: list[str]
    batched: bool = True

    @property
    def rows(self) -> int:
        """How many observations this is; the server batches rows of several clients."""
        return len(self.text)

    def copy_images(self, images: np.ndarray) -> None:
        """Writes the cameras into ``images`` (b, v, h, w, 3), in that size."""
        size = (images.shape[2], images.shape[3])
        for index, camera in enumerate(self.cameras):
            images[:, index] = resize(camera, size)


def read_observation(observation: Any, spec: InputSpec, with_state: bool = True) -> PolicyInputs:
    """Checks everything that arrived from outside; raises ``BadObservation``.

    ``with_state`` False is for the endpoints that look at images and text only; proprio is then zeros.
    """
    if not isinstance(observation, Mapping):
        raise BadObservation(f"'observation' must be a dict with video, state and language, not {_kind(observation)}")
    video, state, language = (_group(observation, name) for name in ("video", "state", "language"))
    cameras, batched = _cameras(video, spec)
    rows = len(cameras[0])
    if any(len(camera) != rows for camera in cameras):
        raise BadObservation(f"the cameras disagree about b: {[len(camera) for camera in cameras]}")
    if rows > spec.max_rows:
        raise BadObservation(
            f"{rows} observations in one request; this server takes at most {spec.max_rows} (--max-batch)"
        )
    proprio = _proprio(state, rows, batched, spec) if with_state else _no_state(rows, spec)
    return PolicyInputs(cameras, proprio, _text(language, rows, batched, spec.names), batched)


def read_queries(queries: Any, rows: int, spec: InputSpec) -> np.ndarray:
    """First points for ``policy.predict_traj``: (b, v, t, n, 2) float in [-1, 1]."""
    if not isinstance(queries, np.ndarray) or queries.dtype.kind != "f":
        raise BadObservation(f"init_queries must be a float array, not {_kind(queries)}")
    views, tracks = len(spec.views), spec.tracks
    wanted = f"({rows}, {views}, t, {tracks or 'n'}, 2)"
    if queries.ndim != 5 or queries.shape[:2] != (rows, views) or queries.shape[4] != 2 or 0 in queries.shape:
        raise BadObservation(f"init_queries must be {wanted}, not {queries.shape}")
    if tracks is not None and queries.shape[3] != tracks:
        raise BadObservation(f"init_queries must be {wanted}, not {queries.shape}: the policy follows {tracks} points")
    if not (np.abs(queries) <= PLAUSIBLE).all():  # NaN fails, too
        raise BadObservation("init_queries are points in [-1, 1]; these are NaN or far outside")
    return queries.astype(np.float32)


def read_plan(options: Any, rows: int, spec: InputSpec) -> list[Plan | None]:
    """The option ``plan``, one for each row; nothing where the policy has no use for it."""
    plan = options.get("plan") if isinstance(options, Mapping) else None
    if plan is None or spec.horizon is None:
        return [None] * rows
    actions, weights = (plan.get(name) if isinstance(plan, Mapping) else None for name in ("actions", "weights"))
    known, shares = _planned("actions", actions, 3, rows, spec), _planned("weights", weights, 2, rows, spec)
    return [Plan(row, share) for row, share in zip(known, np.clip(shares, 0, 1), strict=True)]


def _planned(name: str, part: Any, dimensions: int, rows: int, spec: InputSpec) -> np.ndarray:
    if not isinstance(part, np.ndarray) or part.dtype.kind != "f" or part.ndim != dimensions:
        raise BadObservation(f"plan.{name} must be a float array of {dimensions} dimensions, not {_kind(part)}")
    if part.shape[:2] != (rows, spec.horizon):
        raise BadObservation(f"plan.{name} must begin ({rows}, {spec.horizon}), not {part.shape}")
    if not (np.abs(part) <= PLAUSIBLE).all():  # NaN fails, too
        raise BadObservation(f"plan.{name} is NaN or far outside what actions are")
    return part.astype(np.float32)


def _group(observation: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """``observation["video"]``, or the flat keys ``"video.agentview"``; an instruction is a flat ``annotation``."""
    group = observation.get(name)
    if group is None:
        flat = {key: value for key, value in observation.items() if isinstance(key, str)}
        group = {key.removeprefix(f"{name}."): value for key, value in flat.items() if key.startswith(f"{name}.")}
        if name == "language":
            group |= {key: value for key, value in flat.items() if key.startswith("annotation.")}
        return group
    if not isinstance(group, Mapping):
        raise BadObservation(f"'{name}' must be a dict, not {_kind(group)}")
    return group


def _cameras(video: Mapping[str, Any], spec: InputSpec) -> tuple[list[np.ndarray], bool]:
    """The last image of every view, (b, h, w, 3), and whether there was a b."""
    names = [spec.names.camera(view) for view in spec.views]
    # Our own name is understood beside the client's.
    given = [video.get(name, video.get(view)) for name, view in zip(names, spec.views, strict=True)]
    missing = [name for name, camera in zip(names, given, strict=True) if camera is None]
    if missing:
        raise BadObservation(f"the observation lacks {', '.join('video.' + name for name in missing)}; send {names}")
    cameras = []
    for name, camera in zip(names, given, strict=True):
        if not isinstance(camera, np.ndarray) or camera.dtype != np.uint8:
            raise BadObservation(f"video.{name} must be a uint8 array, not {_kind(camera)}")
        if camera.ndim not in (4, 5) or camera.shape[-1] != 3 or 0 in camera.shape:
            raise BadObservation(f"video.{name} must be (b, t, h, w, 3) or (t, h, w, 3), not {camera.shape}")
        if not all(side in IMAGE_SIDES for side in camera.shape[-3:-1]):
            sides = f"{IMAGE_SIDES[0]} to {IMAGE_SIDES[-1]}"
            raise BadObservation(f"video.{name} must have {sides} pixels a side, not {camera.shape[-3:-1]}")
        cameras.append(camera)
    if len({camera.ndim for camera in cameras}) > 1:
        raise BadObservation(f"the cameras disagree about b: {[camera.shape for camera in cameras]}")
    batched = cameras[0].ndim == 5
    return [camera[:, -1] if batched else camera[-1:] for camera in cameras], batched


def _no_state(rows: int, spec: InputSpec) -> np.ndarray:
    return np.zeros((rows, spec.embodiment.state_width), np.float32)


def _proprio(state: Mapping[str, Any], rows: int, batched: bool, spec: InputSpec) -> np.ndarray:
    """(b, d) float32 from the one array, or from the parts that clients send instead."""
    names, width = spec.names, spec.embodiment.state_width
    parts = [STATE] if STATE in state else names.state_names
    latest = np.concatenate([_state(state, part, rows, batched, width) for part in parts], axis=-1)
    whole = "state." + "+".join(names.state_names)
    if latest.shape[1] != width:
        groups = " and ".join(f"{group.width} {group.name}" for group in spec.embodiment.state)
        raise BadObservation(f"{whole} must be ({rows}, t, {width}): {groups}, not {latest.shape[1]} numbers")
    if not (np.abs(latest) <= PLAUSIBLE).all():  # NaN fails, too
        raise BadObservation(f"{whole} holds NaN or numbers that are no joint positions in rad (beyond {PLAUSIBLE:g})")
    return latest.astype(np.float32)


def _state(state: Mapping[str, Any], name: str, rows: int, batched: bool, width: int) -> np.ndarray:
    """The last time step of one part, (b, d)."""
    values = state.get(name)
    shape = f"({rows}, t, {width if name == STATE else 'd'})"
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "fiu":
        raise BadObservation(f"state.{name} must be an array of numbers {shape}, not {_kind(values)}")
    if not batched and values.ndim == 2:
        values = values[None]
    if values.ndim != 3 or len(values) != rows or not values.shape[1]:
        raise BadObservation(f"state.{name} must be {shape}, not {values.shape}")
    return values[:, -1].astype(np.float64)


def _text(language: Mapping[str, Any], rows: int, batched: bool, names: Names) -> list[str]:
    """b instructions; where a client sends only one entry, its name does not matter."""
    lines = language.get(names.task, language.get(TASK))
    if lines is None and len(language) == 1:
        lines = next(iter(language.values()))
    if lines is None and len(language) > 1:
        raise BadObservation(
            f"which of {sorted(map(str, language))[:5]} is the instruction? serve --rename {TASK}=NAME"
        )
    if not batched:  # (t,) or one text
        lines = [lines]
    if isinstance(lines, list | tuple) and len(lines) == rows:
        # [[str], ...] as GR00T nests it (b, t), or [str, ...]
        latest = [line[-1] if isinstance(line, list | tuple) and line else line for line in lines]
        if all(isinstance(line, str) for line in latest):
            if not all(line.strip() and len(line) <= TEXT_LENGTH for line in latest):
                raise BadObservation(f"an instruction must say what to do, in 1 to {TEXT_LENGTH} characters")
            return latest
    raise BadObservation(f"language.{names.task} must be [[str]] with {rows} entries, not {_kind(lines)}")


def _kind(value: Any) -> str:
    if value is None:
        return "missing"
    return f"{value.dtype} {value.shape}" if isinstance(value, np.ndarray) else type(value).__name__
