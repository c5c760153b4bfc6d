"""Keeps the trajectories that a policy predicts during an evaluation, one file beside each video, for the report.

``<video>.tracks.npz``: steps (c,) at which a chunk was predicted; points (c, v, 16, n, 2) float32, what
``policy.predict_traj`` returned, (row, col) in [-1, 1]; views (v,) their names; image_size (2,) height and width.
"""

import base64
import gzip
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from common.errors import UserError
from common.files import replacing
from policy.interface import Policy
from sim.evaluation.results import EpisodeResult
from sim.evaluation.worker import Job, Observation, video_path
from sim.pictures.overlay import moving
from sim.pictures.predictions import regular_queries

SCALE = 8192
"""Fixed-point numbers a unit of normalised coordinates: a whole pixel of 128 is exactly 128 of them, and points up to
half an image outside have steps of 16 bits."""


def tracks_path(video: Path) -> Path:
    """Where the predicted trajectories of a video are kept."""
    return video.with_suffix(".tracks.npz")


class PredictionLog:
    """Asks ``policy`` where points will move whenever it is asked to act, and saves it with the episode's video.

    Predictions are at least ``spacing`` steps apart (with temporal ensembling a policy acts at every step).
    """

    def __init__(self, policy: Policy, video_folder: Path, spacing: int = 8) -> None:
        self._policy, self._folder, self._spacing = policy, video_folder, spacing
        self._queries = regular_queries(policy)
        self._running: dict[tuple[str, int, int], list[tuple[int, np.ndarray]]] = {}

    def record(self, requests: Sequence[tuple[Job, Observation]]) -> None:
        """These jobs have just asked for actions; one that begins anew (after it broke) forgets what was."""
        due = []
        for job, observation in requests:
            if observation.step == 0:
                self._running[job.key] = []
            chunks = self._running[job.key]
            if not chunks or observation.step >= chunks[-1][0] + self._spacing:
                due.append((chunks, observation))
        if due:
            images = np.stack([observation.images for _, observation in due])
            queries = np.repeat(self._queries[None], len(due), axis=0)
            predicted = self._policy.predict_traj(images, queries, [observation.text for _, observation in due])
            for (chunks, observation), points in zip(due, predicted, strict=True):
                chunks.append((observation.step, points))

    def save(self, episode: EpisodeResult) -> None:
        """Save what was predicted in an episode, if its video was kept."""
        chunks = self._running.pop(episode.key, [])
        video = video_path(self._folder, episode.key, episode.success)
        if chunks and episode.error is None and video.exists():
            with replacing(tracks_path(video)) as temporary, open(temporary, "wb") as file:
                np.savez_compressed(
                    file,
                    steps=np.array([step for step, _ in chunks]),
                    points=np.stack([points for _, points in chunks]),
                    views=np.array(self._policy.views),
                    image_size=np.array(self._policy.image_size),
                )


@dataclass(frozen=True, eq=False)
class PredictedTracks:
    """What was predicted during one episode; arrays as in the file."""

    steps: np.ndarray
    points: np.ndarray
    views: tuple[str, ...]
    image_size: tuple[int, int]

    @classmethod
    def load(cls, path: Path) -> "PredictedTracks":
        """Read a file of a ``PredictionLog``.

        Raises:
            UserError: it is damaged or not such a file.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                height, width = file["image_size"].tolist()
                return cls(file["steps"], file["points"], tuple(file["views"].tolist()), (height, width))
        except (OSError, ValueError, KeyError) as error:
            raise UserError(f"{path} does not hold predicted trajectories ({error}); delete it") from error

    def packed(self) -> dict[str, Any]:
        """The moving points for the report's page, where ``unpack`` in ``templates/report.js`` reads them.

        For each chunk and view, first points and then steps from time to time as 16 bit fixed-point numbers, in
        order (time, point, row and column); all compressed, because most steps are equal.
        """
        counts: list[list[int]] = []
        parts: list[np.ndarray] = []
        for chunk in self.points:
            counts.append([])
            for points in chunk:
                chosen = points[:, moving(points, self.image_size)]
                counts[-1].append(chosen.shape[1])
                fixed = np.rint(np.clip(chosen, -1.99, 1.99) * SCALE).astype(np.int32)
                parts.append(np.diff(fixed, axis=0, prepend=0).astype("<i2").ravel())
        data = gzip.compress(np.concatenate(parts).tobytes(), mtime=0)
        return {
            "steps": self.steps.tolist(),
            "times": self.points.shape[2],
            "counts": counts,
            "scale": SCALE,
            "data": base64.b64encode(data).decode(),
        }

    def script(self, name: str) -> str:
        """A script that hands the packed trajectories to the page under ``name``; works from file:// addresses."""
        return f"(window.predicted ??= {{}})[{json.dumps(name)}] = {json.dumps(self.packed())};\n"
