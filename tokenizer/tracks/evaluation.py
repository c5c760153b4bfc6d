"""How much motion survives a tokenizer: trajectories encoded into codes and decoded again, beside the true ones."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from demos.dataset import FrameDataset
from tokenizer.code_usage import code_usage
from tokenizer.tracks.metrics import metrics_beside_still, motion_explained
from tokenizer.tracks.model import MotionTokenizer
from tokenizer.tracks.motion import points_to_velocities
from tokenizer.tracks.options import Decoding

DECODINGS: tuple[Decoding, ...] = ("argmax", "expectation")


def encoder_inputs(batch: Mapping[str, Any], device: torch.device | str) -> tuple[Tensor, Tensor | None]:
    """Trajectories (b, v, t, n, 2), and images (b, v, h, w, 3) in [0, 1] where there are any, of a batch of frames."""
    points = torch.as_tensor(batch["tracks"]).to(device)
    images = batch.get("images")
    return points, None if images is None else torch.as_tensor(images).to(device).float() / 255


def encoder_inputs_at(
    model: MotionTokenizer, frames: FrameDataset, indices: np.ndarray
) -> tuple[Tensor, Tensor | None]:
    """The same of frames (b,) of a dataset, which may have more than ``model`` looks at, on the model's device."""
    batch = {"tracks": frames.tracks_in_batch(indices)}
    if model.config.cond_on_img:
        batch["images"] = frames.images_in_batch(indices)
    return encoder_inputs(batch, next(model.parameters()).device)


@torch.no_grad()
def evaluate(
    model: MotionTokenizer, frames: FrameDataset, samples: int, batch_size: int = 32
) -> dict[str, dict[str, float]]:
    """Measures on ``samples`` of the frames, spread evenly, by name: for each decoding all of the reference's, over all
    views and of each, beside those of standing still; and as ``codes`` how the codes are used.
    """
    c = model.config
    model.eval()
    picks = np.unique(np.linspace(0, len(frames) - 1, min(samples, len(frames))).astype(np.int64))
    batches = [picks[start : start + batch_size] for start in range(0, len(picks), batch_size)]
    parts: dict[str, list[dict[str, float]]] = {decoding: [] for decoding in DECODINGS}
    counts = torch.zeros(c.actual_codebook_size, dtype=torch.long)
    for indices in batches:
        points, images = encoder_inputs_at(model, frames, indices)
        codes, code_indices = model.encode(points_to_velocities(points), images)
        counts += torch.bincount(code_indices.flatten(), minlength=len(counts)).cpu()
        for decoding in DECODINGS:
            decoded = model.decode_points(codes, points[:, :, :1], decoding)
            again = model.encode(points_to_velocities(decoded), images)[1]
            parts[decoding].append(
                {"codebook_accuracy": (again == code_indices).float().mean().item()}
                | metrics_beside_still(decoded, points, c.img_shape, c.views, per_pixel=True)
            )
    sizes = [len(indices) for indices in batches]
    found = {name: _mean(measures, sizes) for name, measures in parts.items()}
    return found | {"codes": code_usage(counts)}


def _mean(parts: list[dict[str, float]], sizes: list[int]) -> dict[str, float]:
    means = {name: float(np.average([part[name] for part in parts], weights=sizes)) for name in parts[0]}
    return means | motion_explained(means)
