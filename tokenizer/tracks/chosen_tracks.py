"""Which tracks a training step looks at: some drawn from all, some from those that move, weighted so that nothing is
overstated.

Most points of a scene stand still, and a small sample of them says little about motion. Drawing a part of the sample
from the moving points alone, and dividing every point's loss by how likely the whole scheme draws it, leaves the
expected loss what it is.
"""

from typing import NamedTuple

import torch
from torch import Tensor


class ChosenTracks(NamedTuple):
    """Track numbers for each sample and view, and by how much their losses count."""

    tracks: Tensor
    """(b, v, m) int64"""
    weights: Tensor | None
    """(b, v, m), 1 on average; None where all are 1"""

    def of(self, points: Tensor) -> Tensor:
        """(b, v, t, n, 2) -> (b, v, t, m, 2)"""
        return points.gather(3, self.tracks[:, :, None, :, None].expand(-1, -1, points.shape[2], -1, 2))


def choose_tracks(points: Tensor, count: int, moving_share: float, pixel: float) -> ChosenTracks:
    """``count`` tracks a sample and view of the trajectories (b, v, t, n, 2), of which the share ``moving_share`` is
    drawn from those that move; a share less than 1.

    A track moves when its path is at least ``pixel`` long. Where none does, all are drawn from all tracks. Draws from
    all tracks are without repetition, those from the moving ones with.
    """
    b, v, _, n, _ = points.shape
    of_moving = min(round(count * moving_share), count - 1)  # something has to stand for what stands still
    tracks = torch.rand(b, v, n, device=points.device).topk(count, -1).indices
    if not of_moving:
        return ChosenTracks(tracks, None)
    moving = points.diff(dim=2).norm(dim=-1).sum(2) >= pixel  # (b, v, n)
    number = moving.sum(-1, keepdim=True)
    drawn = torch.multinomial((moving | (number == 0)).flatten(0, 1).float(), of_moving, replacement=True)
    tracks[..., :of_moving] = torch.where(number > 0, drawn.view(b, v, -1), tracks[..., :of_moving])
    share = of_moving / count
    # how often the scheme draws a track, in units of what drawing from all of them does
    odds = (1 - share) + share * moving * n / number.clamp(min=1)
    weights = torch.where(number > 0, 1 / odds, 1.0)
    return ChosenTracks(tracks, weights.gather(2, tracks))
