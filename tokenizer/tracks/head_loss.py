"""The decoder's loss without its logits: cross-entropy over motion classes, a few samples at a time.

For every point the decoder has hidden = relu(time part + track part + view part), logits = hidden W' + shared part
(see ``tokenizer.tracks.model``). At the published size the logits of one sample are 11 MB; here they live only in the
cache, because a chunk's gradients are computed together with its loss. In half precision these are kept as means over
the tracks, which fit float16; the rest of the loss's scale is applied in float32, together with a loss scaler's.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


class HeadParts(NamedTuple):
    """What the decoder's logits are made of; the first three add up to the hidden layer before its ReLU."""

    time: Tensor
    """(b, v or 1, t, m)"""
    track: Tensor
    """(n, m)"""
    view: Tensor
    """(v, m)"""
    weight: Tensor
    """(classes, m), from the hidden layer to the logits"""
    shared: Tensor
    """(b, v or 1, t, classes), the same for every track, added to the logits"""


class _HeadLoss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        time: Tensor,
        track: Tensor,
        view: Tensor,
        weight: Tensor,
        shared: Tensor,
        classes: Tensor,
        view_weights: Tensor,
        chunk: int,
    ) -> Tensor:
        b, _, t, n = classes.shape
        dtype, of_tracks, ctx.of_steps = time.dtype, view_weights / n, 1 / (b * t)
        ctx.dtypes = [x.dtype for x in (time, track, view, weight, shared)]
        d_time, d_shared = torch.empty_like(time), torch.empty_like(shared)
        d_track, d_view, d_weight = (torch.zeros_like(x, dtype=torch.float32) for x in (track, view, weight))
        loss = torch.zeros((), device=time.device)
        for start in range(0, len(time), chunk):
            part = slice(start, start + chunk)
            hidden = (time[part].unsqueeze(3) + (view[:, None, None] + track)).relu_()  # (c, v, t, n, m)
            rows = hidden.flatten(0, 3)
            logits = (rows @ weight.T).unflatten(0, hidden.shape[:4]) + shared[part].unsqueeze(3)
            target = classes[part].unsqueeze(-1)
            log_p = logits.float().log_softmax(-1)
            losses = -log_p.gather(-1, target).squeeze(-1)
            loss += (losses.sum((0, 2, 3)) * of_tracks).sum() * ctx.of_steps
            gradient = log_p.exp_()
            gradient.scatter_add_(-1, target, torch.full_like(target, -1, dtype=gradient.dtype))
            gradient = gradient.mul_(of_tracks[:, None, None, None]).to(dtype)
            over = (1, 3) if shared.shape[1] == 1 else (3,)
            d_shared[part] = gradient.sum(over).view_as(d_shared[part])
            flat = gradient.flatten(0, 3)
            d_weight += flat.T @ rows
            d_hidden = (flat @ weight).mul_(rows > 0).view_as(hidden)
            by_view_and_track = d_hidden.sum((0, 2))  # (v, n, m)
            d_track += by_view_and_track.sum(0)
            d_view += by_view_and_track.sum(1)
            d_time[part] = d_hidden.sum(over).view_as(d_time[part])
        ctx.save_for_backward(d_time, d_track, d_view, d_weight, d_shared)
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        scale = upstream.float() * ctx.of_steps
        gradients = ((scale * g.float()).to(dtype) for g, dtype in zip(ctx.saved_tensors, ctx.dtypes, strict=True))
        return (*gradients, None, None, None)


def head_loss(parts: HeadParts, classes: Tensor, view_weights: Tensor, chunk: int | None = None) -> Tensor:
    """Mean cross-entropy of each view times its weight, added up; ``classes`` (b, v, t, n), ``view_weights`` (v,)."""
    if chunk is None:
        chunk = 1 if classes.device.type == "cpu" else 32  # a CPU's cache holds one sample, a GPU wants many at once
    return _HeadLoss.apply(*parts, classes, view_weights, chunk)
