"""Asks a policy where points will move, at one moment of a clip, and measures it against what did happen."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray

from common.errors import UserError
from demos.tracks import resampled
from policy.interface import Array, Policy, Text
from sim.pictures.inputs import Frame, resize
from tokenizer.tracks.metrics import metrics_beside_still, motion_explained
from tokenizer.tracks.motion import grid_queries

PUBLISHED_TRACKS = 400
"""Points a view of a policy that does not say how many it has."""


@runtime_checkable
class SamplingPolicy(Protocol):
    """A policy that can also draw several predictions; see ``policy.amplify.Amplify.sample_traj``."""

    def sample_traj(
        self, images: Array, init_queries: Array, text: Text, samples: int, top_k: int = 10
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]: ...


@dataclass(frozen=True, eq=False)
class Prediction:
    """What the policy expects from frame ``step`` on.

    points (v, 16, n, 2): exactly what ``policy.predict_traj`` returned; codes (c,); truth (v, 16, n, 2) where known;
    samples (s, v, 16, n, 2) and sample_codes (s, c) where asked for; metrics by name.
    """

    step: int
    points: np.ndarray
    codes: np.ndarray
    truth: np.ndarray | None = None
    samples: np.ndarray | None = None
    sample_codes: np.ndarray | None = None
    metrics: dict[str, float] = field(default_factory=dict)


def regular_queries(policy: Policy) -> NDArray[np.float32]:
    """(v, 1, n, 2): the grid of first points that ``policy`` follows when nothing else is known."""
    tracks = int(policy.describe().get("num_tracks", PUBLISHED_TRACKS))
    return grid_queries(len(policy.views), tracks).numpy()[:, None]


class Predictor:
    """One policy's predictions with one instruction."""

    def __init__(self, policy: Policy, text: str, *, samples: int = 1, top_k: int = 10) -> None:
        if samples > 1 and not isinstance(policy, SamplingPolicy):
            raise UserError("this policy has one prediction only; leave --samples away")
        self.policy, self.text, self.samples, self.top_k = policy, [text], samples, top_k
        self._grid = regular_queries(policy)

    def __call__(self, step: int, frame: Frame) -> Prediction:
        """Predict from ``frame``. Points start where the true ones do, where these are known, else on a grid."""
        images = self._sized(frame.images)[None]
        known = frame.tracks is not None and frame.tracks.shape[2] == self._grid.shape[2]
        truth = frame.tracks if known else None
        queries = self._grid if truth is None else truth[:, :1]
        points = self.policy.predict_traj(images, queries[None], self.text)[0]
        if truth is not None and truth.shape[1] != points.shape[1]:
            # published policies spread their points evenly over the steps of a chunk
            truth = resampled(truth[:, : self.policy.action_horizon], points.shape[1])
        codes = self.policy.predict_codes(images, self.text)[0][0]
        samples = sample_codes = None
        if self.samples > 1:
            assert isinstance(self.policy, SamplingPolicy)
            sample_codes, samples = (
                drawn[0]
                for drawn in self.policy.sample_traj(images, queries[None], self.text, self.samples, self.top_k)
            )
        return Prediction(step, points, codes, truth, samples, sample_codes, self._metrics(points, truth, samples))

    def _sized(self, images: np.ndarray) -> np.ndarray:
        """Larger images than the policy was made for are averaged down; it enlarges smaller ones itself."""
        side = min(self.policy.image_size)
        return np.stack([resize(image, side) for image in images]) if images.shape[1] > side else images

    def _metrics(self, points: np.ndarray, truth: np.ndarray | None, samples: np.ndarray | None) -> dict[str, float]:
        if truth is None:
            return {}
        size, true = self.policy.image_size, torch.from_numpy(truth[None].astype(np.float32))
        metrics = metrics_beside_still(torch.from_numpy(points[None]), true, size, self.policy.views)
        if samples is not None:
            metrics["best_sample_mse"] = float(np.square(samples - truth).mean((1, 2, 3, 4)).min())
        return metrics


def mean_metrics(predictions: Sequence[dict[str, float]]) -> dict[str, float]:
    """The mean of each metric over windows, and the part of the motion explained; nothing where there are none."""
    if not predictions or not predictions[0]:
        return {}
    means = {name: float(np.mean([window[name] for window in predictions])) for name in predictions[0]}
    return means | motion_explained(means)
