"""How well forward dynamics predicts: its codes, and the motion that they decode to beside the true one."""

import torch
from torch import Tensor

from policy.forward_dynamics import ForwardDynamics
from tokenizer.sampling import Sampling
from tokenizer.tracks.metrics import metrics_beside_still
from tokenizer.tracks.model import MotionTokenizer


@torch.no_grad()
def forward_measures(
    model: ForwardDynamics, tokenizer: MotionTokenizer, condition: Tensor, points: Tensor, codes: Tensor
) -> dict[str, float]:
    """Condition tokens (b, c, dim), true points (b, v, t, n, 2), their codes (b, s) -> measures.

    ``loss`` and ``teacher_forced_code_accuracy`` are of each code when all true ones before it are given, which no
    policy has; ``greedy_code_accuracy``, that of each digit of a code, and the measures of tracks are of the codes that
    ``predict`` makes alone.
    """
    logits = model.logits(condition, codes)
    predicted = model.predict(condition)
    digits_right = (model.quantize.digits(predicted) == model.quantize.digits(codes)).float().mean((0, 1))
    return {
        "loss": model.unembed.loss(logits, codes).item(),
        "teacher_forced_code_accuracy": (model.unembed.likeliest(logits) == codes).float().mean().item(),
        "greedy_code_accuracy": (predicted == codes).float().mean().item(),
        **{f"greedy_digit_{i + 1}_accuracy": right.item() for i, right in enumerate(digits_right)},
        **_track_measures(tokenizer, model.quantize.indices_to_codes(predicted), points),
    }


@torch.no_grad()
def soft_measures(
    model: ForwardDynamics, tokenizer: MotionTokenizer, condition: Tensor, points: Tensor, codes: Tensor
) -> dict[str, float]:
    """The same of what is acted on where codes are soft: the mean of each code, all at once.

    ``loss`` and ``code_accuracy`` are of the distributions that the means are of.
    """
    logits = model.logits(condition)
    return {
        "loss": model.unembed.loss(logits, codes).item(),
        "code_accuracy": (model.unembed.likeliest(logits) == codes).float().mean().item(),
        **_track_measures(tokenizer, model.act(condition), points),
    }


@torch.no_grad()
def sample_measures(
    model: ForwardDynamics,
    tokenizer: MotionTokenizer,
    condition: Tensor,
    points: Tensor,
    sampling: Sampling,
    samples: int,
    generator: torch.Generator,
) -> tuple[dict[str, float], dict[str, float]]:
    """Measures of tracks of the best (by squared error) of so many drawn predictions, and their mean over all."""
    indices = model.predict(condition, sampling, generator, samples)
    all_points = points.repeat_interleave(samples, 0)
    drawn = tokenizer.decode_points(model.quantize.indices_to_codes(indices), all_points[:, :, :1])
    errors = (drawn - all_points).square().mean((1, 2, 3, 4)).view(-1, samples)
    best = drawn.unflatten(0, (-1, samples))[torch.arange(len(points)), errors.argmin(1)]
    c = tokenizer.config
    return (
        metrics_beside_still(best, points, c.img_shape, c.views),
        metrics_beside_still(drawn, all_points, c.img_shape, c.views),
    )


def _track_measures(tokenizer: MotionTokenizer, vectors: Tensor, points: Tensor) -> dict[str, float]:
    """Of what code vectors (b, s, dim) decode to, beside the true points (b, v, t, n, 2) and beside standing still."""
    c = tokenizer.config
    return metrics_beside_still(tokenizer.decode_points(vectors, points[:, :, :1]), points, c.img_shape, c.views)
