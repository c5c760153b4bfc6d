"""Points, velocities and motion classes: the coordinate conventions every model shares.

A point is (row, column), each normalised to [-1, 1] over the image: ``norm = (pixel - S/2) / (S/2)`` with S the image
height for rows and the width for columns, so one pixel is 2/S. A velocity is the difference of two consecutive points.
The tokenizer's decoder classifies where a point moves inside a small window of whole pixels (AMPLIFY, section 3.1).
"""

import torch
from torch import Tensor

Size = tuple[int, int]
"""(height, width) in pixels."""


def _half(size: Size, like: Tensor) -> Tensor:
    return torch.tensor(size, dtype=like.dtype, device=like.device) / 2


def unnormalize(points: Tensor, size: Size) -> Tensor:
    """(..., 2) in [-1, 1] -> pixels (row, col); ``demos.tracks.normalized`` goes the other way."""
    half = _half(size, points)
    return points * half + half


def points_to_velocities(points: Tensor, dim: int = 2) -> Tensor:
    """Differences of consecutive points along the time axis ``dim``: T points -> T - 1 velocities."""
    return points.diff(dim=dim)


def velocities_to_points(velocities: Tensor, start: Tensor, dim: int = 2) -> Tensor:
    """Adds up velocities from ``start`` (time axis kept, size 1): T - 1 velocities -> T points."""
    return torch.cat([start, start + velocities.cumsum(dim)], dim)


def grid_queries(views: int, num_tracks: int) -> Tensor:
    """(views, g*g, 2) points on a regular g x g grid, g = floor(sqrt(num_tracks)), rows running fastest."""
    g = int(num_tracks**0.5)
    axis = torch.linspace(-1 + 1 / g, 1 - 1 / g, g)
    column, row = torch.meshgrid(axis, axis, indexing="ij")
    return torch.stack([row, column], -1).reshape(1, g * g, 2).repeat(views, 1, 1)


def motion_classes(before: Tensor, after: Tensor, size: Size, window: Size) -> Tensor:
    """Class (...) in [0, window area) of the motion from ``before`` to ``after``, both (..., 2) in [-1, 1].

    Each point is clamped into the image and rounded to a whole pixel (half to even) before the difference is taken;
    the difference is clamped to the window. Standing still is the middle class.
    """
    limit = torch.tensor(size, dtype=before.dtype, device=before.device) - 1
    zero = torch.zeros_like(limit)
    start, end = (unnormalize(points, size).clamp(zero, limit).round() for points in (before, after))
    reach = torch.tensor([window[0] // 2, window[1] // 2], dtype=before.dtype, device=before.device)
    row, column = ((end - start).clamp(-reach, reach) + reach).long().unbind(-1)
    return row * window[1] + column


def classes_to_velocities(classes: Tensor, size: Size, window: Size) -> Tensor:
    """(...) motion classes -> (..., 2) velocities in normalised units, multiples of one pixel."""
    row = classes // window[1] - window[0] // 2
    column = classes % window[1] - window[1] // 2
    return torch.stack([row / size[0] * 2, column / size[1] * 2], -1)


def expected_velocities(logits: Tensor, size: Size, window: Size) -> Tensor:
    """(..., classes) -> (..., 2): mean velocity over the classes; parts of a pixel, with a gradient."""
    classes = torch.arange(window[0] * window[1], device=logits.device)
    return logits.float().softmax(-1) @ classes_to_velocities(classes, size, window)


def likeliest_velocities(logits: Tensor, size: Size, window: Size) -> Tensor:
    """(..., classes) -> (..., 2): velocity of the likeliest class (the first of equals); carries no gradient."""
    # softmax before argmax, as published: values that differ only below float resolution become ties there
    return classes_to_velocities(logits.detach().softmax(-1).argmax(-1), size, window)
