"""Keeps the trajectories that a policy predicts during an evaluation, one file beside each video, for the report."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from policy.interface import Policy
from sim.evaluation.results import EpisodeResult
from sim.evaluation.worker import Job, Observation, video_path
from sim.pictures.predicted_tracks import save_tracks, tracks_path
from sim.pictures.predictions import regular_queries


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
            steps, points = zip(*chunks, strict=True)
            save_tracks(tracks_path(video), steps, np.stack(points), self._policy.image_size)
