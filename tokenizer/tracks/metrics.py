"""How well predicted point trajectories and codes match: the measures AMPLIFY reports, same names, same formulas.

Most points stand still most of the time, so a measure alone says little: ``metrics_beside_still`` has each of them for
a prediction that nothing moves, too, and for each view.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from tokenizer.tracks.motion import Size, points_to_velocities


def cross_track_l2(predicted: Tensor, truth: Tensor, discount: float = 1.0) -> float:
    """Mean distance of each predicted point to the nearest point of its true path; both (b, v, t, n, 2).

    With a ``discount`` the distance at time i is multiplied by discount ** i before the mean is taken.
    """
    # (b, v, n, i, j): predicted time i against true time j
    distance = torch.cdist(
        predicted.transpose(2, 3), truth.transpose(2, 3), compute_mode="donot_use_mm_for_euclid_dist"
    )
    nearest = distance.min(-1).values
    return (nearest * discount ** torch.arange(nearest.shape[-1], device=nearest.device)).mean().item()


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


STILL = "still/"
"""Begins, after the view's, the name of what standing still would be measured as."""


def metrics_beside_still(
    predicted: Tensor, truth: Tensor, size: Size, views: Sequence[str], per_pixel: bool = False
) -> dict[str, float]:
    """``trajectory_metrics`` of (b, v, t, n, 2) trajectories and of points that stay where they start.

    Over all views (``delta_auc``, ``still/delta_auc``) and for each (``agentview/delta_auc``,
    ``agentview/still/delta_auc``). Measures of the truth alone, ``nonzero_gt_percent``, stand there once.
    """
    still = truth[:, :, :1].expand_as(truth)
    parts = {"": slice(None)} | {f"{view}/": slice(i, i + 1) for i, view in enumerate(views)}
    metrics: dict[str, float] = {}
    for part, of in parts.items():
        found = trajectory_metrics(predicted[:, of], truth[:, of], size, per_pixel)
        baseline = trajectory_metrics(still[:, of], truth[:, of], size, per_pixel)
        metrics |= {part + name: x for name, x in found.items()}
        metrics |= {f"{part}{STILL}{name}": x for name, x in baseline.items() if name != "nonzero_gt_percent"}
    return metrics


def motion_explained(metrics: Mapping[str, float]) -> dict[str, float]:
    """1 - mse / mse of standing still, of all views and of each; from the means that ``metrics`` are in the end."""
    explained = {}
    for name, still in metrics.items():
        part = name.removesuffix(f"{STILL}mse")
        if part != name:
            explained[f"{part}motion_explained"] = 1 - metrics[f"{part}mse"] / max(still, 1e-12)
    return explained


def metrics_text(metrics: Mapping[str, float], prefix: str = "") -> str:
    """What a person reads of ``metrics``: single numbers in a line, then the measures of tracks as a table.

    Columns are all views and each view; standing still is in brackets.

    >>> print(metrics_text({"loss": 2, "mse": 0.25, "still/mse": 0.5, "left/mse": 0.5, "left/still/mse": 1}))
    loss 2
      tracks (standing still)  all                     left
      mse                      0.25 (0.5)              0.5 (1)
    """
    parts = ["", *(name.removesuffix(f"{STILL}mse") for name in metrics if name.endswith(f"/{STILL}mse"))]
    rows = [name for name in metrics if "/" not in name and any(part + name in metrics for part in parts[1:])]
    single = [f"{prefix}{name} {x:.4g}" for name, x in metrics.items() if "/" not in name and name not in rows]
    table = [["tracks (standing still)", *(part.removesuffix("/") or "all" for part in parts)]]
    for name in rows:
        table.append([name])
        for part in parts:
            still = metrics.get(f"{part}{STILL}{name}")
            table[-1].append(f"{metrics[part + name]:.4g}" + ("" if still is None else f" ({still:.4g})"))
    lines = ["  " + f"{row[0]:<25}" + "".join(f"{cell:<24}" for cell in row[1:]) for row in table if len(table) > 1]
    return "\n".join([" ".join(single), *(line.rstrip() for line in lines)])
