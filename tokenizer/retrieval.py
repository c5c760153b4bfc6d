"""Finding moments whose motion is like a given one's, by the tokens of the motion that follows them."""

from typing import NamedTuple

import numpy as np
import torch

from demos.dataset import FrameDataset
from tokenizer.tracks.evaluation import encoder_inputs_at
from tokenizer.tracks.model import MotionTokenizer
from tokenizer.tracks.motion import points_to_velocities

BATCH = 64


class Moment(NamedTuple):
    """A frame of a dataset and how unlike its motion is, 0 for the same codes."""

    frame: int
    distance: float


@torch.no_grad()
def token_vectors(model: MotionTokenizer, frames: FrameDataset, numbers: np.ndarray) -> np.ndarray:
    """Frame numbers (b,) -> (b, s, d): the vectors of the codes of the motion that follows each."""
    parts = []
    for start in range(0, len(numbers), BATCH):
        points, images = encoder_inputs_at(model, frames, numbers[start : start + BATCH])
        parts.append(model.encode(points_to_velocities(points), images)[0].cpu().numpy())
    return np.concatenate(parts)


def nearest(
    query: np.ndarray, candidates: np.ndarray, numbers: np.ndarray, episodes: np.ndarray, count: int
) -> list[Moment]:
    """The moments most like ``query`` (s, d) among ``candidates`` (w, s, d), at most one of each episode.

    Distance is the mean distance of corresponding tokens' vectors. ``numbers`` (w,) are the candidates' frames and
    ``episodes`` (w,) their episodes: the neighbours of a moment look like it, and one of them is enough.
    """
    distances = np.linalg.norm(candidates - query, axis=-1).mean(-1)
    found: list[Moment] = []
    seen: set[int] = set()
    for i in np.argsort(distances, kind="stable"):
        if int(episodes[i]) not in seen:
            seen.add(int(episodes[i]))
            found.append(Moment(int(numbers[i]), float(distances[i])))
        if len(found) == count:
            break
    return found
