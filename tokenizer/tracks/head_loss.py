"""The decoder's loss without its logits: cross-entropy over motion classes, a few samples at a time.

For every point the decoder has hidden = relu(time part + point part), logits = hidden W' + shared part (see
``tokenizer.tracks.model``). At the published size the logits of one sample are 11 MB; here they live only in the
cache, because a chunk's gradients are computed together with its loss. In half precision these are kept as means over
the tracks, which fit float16; the rest of the loss's scale is applied in float32, together with a loss scaler's.
"""

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
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


class Paths(NamedTuple):
    """A loss of where points get to: expected motions, added up, lead away from the true path.

    Each coordinate that is e pixels away costs weight (sqrt(1 + e ** 2) - 1): the square of little, and no more than
    the distance of much.
    """

    motions: Tensor
    """(b, v, t, n, 2) true ones, in pixels"""
    of_classes: Tensor
    """(classes, 2) the motion that a class stands for, in pixels"""
    weight: float

    def of(self, samples: slice, p: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Of some samples whose classes have the probabilities ``p``: the losses (c, v, t, n), and what a logit adds to
        them, p (pull . motion of its class - drag), as pull (c, v, t, n, 2) and drag (c, v, t, n)."""
        expected = p @ self.of_classes
        away = (expected - self.motions[samples]).cumsum(2)
        cost = (1 + away.square()).sqrt()
        pull = self.weight * (away / cost).flip(2).cumsum(2).flip(2)  # a step moves all later points
        return self.weight * (cost - 1).sum(-1), pull, (pull * expected).sum(-1)


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
        paths: Paths | None,
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
            of_points = of_tracks  # of each element in the loss
            if point_weights is not None:
                of_points = of_points * point_weights[part].unsqueeze(2)
            share = of_points if class_weights is None else of_points * class_weights[classes[part]]
            slope = share  # of the loss by -log p
            if focal is not None:
                losses, factor = focal.of(-losses)
                slope = share * factor
            loss += (losses * share).sum() * ctx.of_steps
            slope = slope.expand(losses.shape)
            gradient = log_p.exp_()
            factor = slope.unsqueeze(-1)  # of the loss's derivative by the logits, by probability
            if paths is not None:
                away, pull, drag = paths.of(part, gradient)
                loss += (away * of_points).sum() * ctx.of_steps
                by_class = torch.cat([pull * of_points.unsqueeze(-1), (slope - drag * of_points).unsqueeze(-1)], -1)
                factor = by_class @ F.pad(paths.of_classes, (0, 1), value=1.0).T
            gradient.mul_(factor).scatter_add_(-1, target, -slope.unsqueeze(-1))
            gradient = gradient.to(dtype)
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
        return (*gradients, None, None, None, None, None, None, None)


@torch.compiler.disable
def head_loss(
    parts: HeadParts,
    classes: Tensor,
    view_weights: Tensor,
    *,
    class_weights: Tensor | None = None,
    point_weights: Tensor | None = None,
    focal: Focal | None = None,
    paths: Paths | None = None,
    chunk: int | None = None,
) -> Tensor:
    """Mean loss of each view times its weight, added up.

    ``classes`` (b, v, t, n) are the true ones, ``view_weights`` (v,). ``class_weights`` (classes,) and
    ``point_weights`` (b, v, n) multiply the loss of every element; the mean still divides by their number. With
    ``focal`` the loss is that, otherwise cross-entropy. That of ``paths``, to which class weights mean nothing, comes
    on top.
    """
    if chunk is None:
        chunk = 1 if classes.device.type == "cpu" else 32  # a CPU's cache holds one sample, a GPU wants many at once
    weights = (class_weights, point_weights)
    return _HeadLoss.apply(*parts, classes, view_weights, *weights, focal, paths, chunk)
