"""The trajectories that a policy predicted during an episode, kept beside its film as a script that reports load.

``<film>.tracks.js`` calls ``predicted`` (in ``sim/report/templates/player.js``) with itself and one JSON object, so
that it loads from file:// addresses and does not know under which name it is shown.
"""

import base64
import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from common.files import replacing
from sim.pictures.overlay import moving

SCALE = 8192
"""Fixed-point numbers a unit of normalised coordinates: a whole pixel of 128 is exactly 128 of them, and points up to
half an image outside have steps of 16 bits."""
COMPRESSION = 6
"""Level of gzip; 9 takes twelve times as long for a quarter less."""


def tracks_path(film: Path) -> Path:
    """Where the predicted trajectories of a film are kept."""
    return film.with_suffix(".tracks.js")


def save_tracks(path: Path, steps: Sequence[int], points: np.ndarray, image_size: tuple[int, int]) -> None:
    """Keep what was predicted during one episode.

    Args:
        path: the file, as ``tracks_path`` names it.
        steps: (c,) steps of the episode at which a chunk was predicted.
        points: (c, v, t, n, 2), what ``policy.predict_traj`` returned, (row, col) in [-1, 1].
        image_size: height and width of the policy's images: points that move less than a pixel are left out.
    """
    with replacing(path) as temporary:
        temporary.write_text(f"predicted(document.currentScript, {json.dumps(_packed(steps, points, image_size))});\n")


def _packed(steps: Sequence[int], points: np.ndarray, image_size: tuple[int, int]) -> dict[str, Any]:
    """For each chunk and view the moving points as 16 bit fixed-point numbers, in order (time, point, row and column).

    First points and then steps from time to time; all compressed, because most steps are equal.
    """
    counts: list[list[int]] = []
    parts: list[np.ndarray] = []
    for chunk in points:
        counts.append([])
        for view in chunk:
            chosen = view[:, moving(view, image_size)]
            counts[-1].append(chosen.shape[1])
            fixed = np.rint(np.clip(chosen, -1.99, 1.99) * SCALE).astype(np.int32)
            parts.append(np.diff(fixed, axis=0, prepend=0).astype("<i2").ravel())
    data = gzip.compress(np.concatenate(parts).tobytes(), COMPRESSION, mtime=0)
    return {
        "steps": list(steps),
        "times": points.shape[2],
        "counts": counts,
        "scale": SCALE,
        "data": base64.b64encode(data).decode(),
    }
