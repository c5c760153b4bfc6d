"""The decoder's loss without its logits: cross-entropy over motion classes, a few samples at a time.

For every point the decoder has hidden = relu(time part + point part), logits = hidden W' + shared part (see
``tokenizer.tracks.model``). At the published size the logits of one sample are 11 MB; here they live only in the
cache, because a chunk's gradients are computed together with its loss. In half precision these are kept as means over
the tracks, which fit float16; the rest of the loss's scale is applied in float32, together with a loss scaler's.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


class HeadParts(NamedTuple):
    """What the decoder's logits are made of; the first two add up to the hidden layer before its ReLU."""

    time: Tensor
    """(b, v or 1, t, m)"""
    point: Tensor
    """(b or 1, v, n, m)"""
    weight: Tensor
    """(classes, m), from the hidden layer to the logits"""
    shared: Tensor
    """(b, v or 1, t, classes), the same for every track, added to the logits"""


class Focal(NamedTuple):
    """The focal loss (Lin et al., 2017) in place of cross-entropy: -alpha (1 - p) ** gamma log p."""

    gamma: float
    alpha: float

    def of(self, log_p: Tensor) -> tuple[Tensor, Tensor]:
        """The loss for the logarithm of the true class's probability, and minus its derivative by it."""
        p, rest = log_p.exp(), (-log_p.expm1()).clamp(min=1e-12)
        faded = rest**self.gamma
        slope = faded - self.gamma * p * (faded / rest) * log_p
        return -self.alpha * faded * log_p, self.alpha * slope


class _HeadLoss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        time: Tensor,
        point: Tensor,
        weight: Tensor,
        shared: Tensor,
        classes: Tensor,
        view_weights: Tensor,
        class_weights: Tensor | None,
        point_weights: Tensor | None,
        focal: Focal | None,
        chunk: int,
    ) -> Tensor:
        b, _, t, n = classes.shape
        dtype, of_tracks, ctx.of_steps = time.dtype, (view_weights / n)[:, None, None], 1 / (b * t)
        ctx.dtypes = [x.dtype for x in (time, point, weight, shared)]
        d_time, d_shared = torch.empty_like(time), torch.empty_like(shared)
        d_point = torch.zeros_like(point, dtype=torch.float32)
        d_weight = torch.zeros_like(weight, dtype=torch.float32)
        loss = torch.zeros((), device=time.device)
        for start in range(0, b, chunk):
            part = slice(start, start + chunk)
            of_point = part if len(point) > 1 else slice(None)
            hidden = (time[part].unsqueeze(3) + point[of_point].unsqueeze(2)).relu_()  # (c, v, t, n, m)
            rows = hidden.flatten(0, 3)
            logits = (rows @ weight.T).unflatten(0, hidden.shape[:4]) + shared[part].unsqueeze(3)
            target = classes[part].unsqueeze(-1)
            log_p = logits.float().log_softmax(-1)
            losses = -log_p.gather(-1, target).squeeze(-1)
            share = of_tracks  # of each element in the loss
            if class_weights is not None:
                share = share * class_weights[classes[part]]
            if point_weights is not None:
                share = share * point_weights[part].unsqueeze(2)
            slope = share  # of the loss by -log p
            if focal is not None:
                losses, factor = focal.of(-losses)
                slope = share * factor
            loss += (losses * share).sum() * ctx.of_steps
            gradient = log_p.exp_()
            gradient.scatter_add_(-1, target, torch.full_like(target, -1, dtype=gradient.dtype))
            gradient = gradient.mul_(slope.unsqueeze(-1)).to(dtype)
            over = (1, 3) if shared.shape[1] == 1 else (3,)
            d_shared[part] = gradient.sum(over).view_as(d_shared[part])
            flat = gradient.flatten(0, 3)
            d_weight += flat.T @ rows
            d_hidden = (flat @ weight).mul_(rows > 0).view_as(hidden)
            of_steps = d_hidden.sum(2)  # (c, v, n, m)
            d_point[of_point] += of_steps if len(point) > 1 else of_steps.sum(0, keepdim=True)
            d_time[part] = d_hidden.sum(over).view_as(d_time[part])
        ctx.save_for_backward(d_time, d_point, d_weight, d_shared)
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        scale = upstream.float() * ctx.of_steps
        gradients = ((scale * g.float()).to(dtype) for g, dtype in zip(ctx.saved_tensors, ctx.dtypes, strict=True))
        return (*gradients, None, None, None, None, None, None)


@torch.compiler.disable
def head_loss(
    parts: HeadParts,
    classes: Tensor,
    view_weights: Tensor,
    *,
    class_weights: Tensor | None = None,
    point_weights: Tensor | None = None,
    focal: Focal | None = None,
    chunk: int | None = None,
) -> Tensor:
    """Mean loss of each view times its weight, added up.

    ``classes`` (b, v, t, n) are the true ones, ``view_weights`` (v,). ``class_weights`` (classes,) and
    ``point_weights`` (b, v, n) multiply the loss of every element; the mean still divides by their number. With
    ``focal`` the loss is that, otherwise cross-entropy.
    """
    if chunk is None:
        chunk = 1 if classes.device.type == "cpu" else 32  # a CPU's cache holds one sample, a GPU wants many at once
    weights = (class_weights, point_weights)
    return _HeadLoss.apply(*parts, classes, view_weights, *weights, focal, chunk)
