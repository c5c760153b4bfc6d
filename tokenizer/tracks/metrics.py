"""How well predicted point trajectories and codes match: the measures AMPLIFY reports, same names, same formulas."""

import torch
from torch import Tensor

from tokenizer.tracks.motion import Size, points_to_velocities


def cross_track_l2(predicted: Tensor, truth: Tensor) -> float:
    """Mean distance of each predicted point to the nearest point of its true path; both (b, v, t, n, 2)."""
    # (b, v, n, i, j): predicted time i against true time j
    distance = torch.cdist(
        predicted.transpose(2, 3), truth.transpose(2, 3), compute_mode="donot_use_mm_for_euclid_dist"
    )
    return distance.min(-1).values.mean().item()


def trajectory_metrics(predicted: Tensor, truth: Tensor, size: Size, per_pixel: bool = False) -> dict[str, float]:
    """Measures of (b, v, t, n, 2) trajectories in [-1, 1] over an image of ``size`` (height, width) pixels.

    ``delta_auc`` averages, over k = 1..10, the fraction of coordinates closer than k pixels; ``normalized_accuracy``
    is the fraction closer than half a pixel. With ``per_pixel`` every ``pixel_accuracy_k`` is listed too.
    """
    pixel = 2 / size[0]
    error = (predicted - truth).abs()
    within = {k: (error < k * pixel).float().mean().item() for k in range(1, 11)}
    moving, moved = (points_to_velocities(points) != 0 for points in (predicted, truth))
    hits = (moving & moved).sum().item()
    wrong = (moving != moved).sum().item()
    metrics = {
        "mse": error.square().mean().item(),
        "l1": error.mean().item(),
        "cross_track_l2": cross_track_l2(predicted, truth),
        "normalized_accuracy": (error < pixel / 2).float().mean().item(),
        "delta_auc": sum(within.values()) / len(within),
        "nonzero_pred_percent": moving.float().mean().item(),
        "nonzero_gt_percent": moved.float().mean().item(),
        "nonzero_pred_accuracy": 1 - wrong / moving.numel(),
        "nonzero_pred_f1": hits / (hits + 0.5 * wrong) if hits or wrong else 0.0,
    }
    if per_pixel:
        metrics |= {f"pixel_accuracy_{k}": value for k, value in within.items()}
    return metrics


def perplexity(indices: Tensor, codebook_size: int) -> tuple[float, float]:
    """(perplexity of the code usage, the same divided by the most it could be); ``indices`` of any shape."""
    counts = torch.bincount(indices.flatten().long(), minlength=codebook_size).float()
    p = counts / counts.sum()
    value = 2 ** -(p * (p + 1e-10).log2()).sum().item()
    return value, value / min(codebook_size, indices.numel())
