"""The fused loss is the plain one: same value, same gradients, whatever the options."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tokenizer.tracks.head_loss import Focal, HeadParts, Paths, head_loss

B, V, T, N, M, K = 5, 2, 3, 4, 8, 9


def make_parts(views_of_time: int = 1, samples_of_point: int = 1) -> HeadParts:
    torch.manual_seed(0)
    shapes = [(B, views_of_time, T, M), (samples_of_point, V, N, M), (K, M), (B, views_of_time, T, K)]
    return HeadParts(*(torch.randn(shape, requires_grad=True) for shape in shapes))


def plain_log_p(parts: HeadParts, classes: Tensor) -> Tensor:
    hidden = F.relu(parts.time.unsqueeze(3) + parts.point.unsqueeze(2))
    logits = hidden @ parts.weight.T + parts.shared.unsqueeze(3)
    return logits.log_softmax(-1).gather(-1, classes.unsqueeze(-1)).squeeze(-1)


def assert_same(parts: HeadParts, expected: Tensor, found: Tensor) -> None:
    assert torch.allclose(found, expected, rtol=1e-5)
    wanted = torch.autograd.grad(expected * 3, parts)
    for ours, theirs in zip(torch.autograd.grad(found * 3, parts), wanted, strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("views_of_time", [1, 2])
@pytest.mark.parametrize("samples_of_point", [1, B])
def test_loss_and_gradients_equal_those_of_plain_cross_entropy(views_of_time: int, samples_of_point: int) -> None:
    parts = make_parts(views_of_time, samples_of_point)
    classes = torch.randint(K, (B, V, T, N))
    weights = torch.tensor([0.9, 0.1])
    expected = (-plain_log_p(parts, classes).mean((0, 2, 3)) * weights).sum()
    assert_same(parts, expected, head_loss(parts, classes, weights, chunk=2))


@pytest.mark.parametrize("focal", [None, Focal(4, 0.5), Focal(1, 1), Focal(0.5, 1), Focal(0, 0.25)])
@pytest.mark.parametrize("weighted", [False, True])
def test_focal_loss_and_weights_of_classes_and_points_have_the_gradients_of_their_formulas(
    focal: Focal | None, weighted: bool
) -> None:
    parts = make_parts(samples_of_point=B)
    classes = torch.randint(K, (B, V, T, N))
    views, of_class, of_point = torch.tensor([0.9, 0.1]), torch.rand(K) + 1, torch.rand(B, V, N)
    log_p = plain_log_p(parts, classes)
    each = -log_p if focal is None else -focal.alpha * (1 - log_p.exp()) ** focal.gamma * log_p
    if weighted:
        each = each * of_class[classes] * of_point.unsqueeze(2)
    expected = (each.mean((0, 2, 3)) * views).sum()
    options = {"class_weights": of_class, "point_weights": of_point} if weighted else {}
    assert_same(parts, expected, head_loss(parts, classes, views, focal=focal, chunk=2, **options))


@pytest.mark.parametrize("weighted", [False, True])
def test_paths_cost_the_distance_to_where_expected_motions_lead(weighted: bool) -> None:
    parts = make_parts(samples_of_point=B)
    classes, of_classes, true = torch.randint(K, (B, V, T, N)), torch.randn(K, 2), torch.randn(B, V, T, N, 2)
    views, of_point = torch.tensor([0.9, 0.1]), torch.rand(B, V, N)
    hidden = F.relu(parts.time.unsqueeze(3) + parts.point.unsqueeze(2))
    p = (hidden @ parts.weight.T + parts.shared.unsqueeze(3)).softmax(-1)
    away = (p @ of_classes).cumsum(2) - true.cumsum(2)
    each = -plain_log_p(parts, classes) + 0.3 * ((1 + away**2).sqrt() - 1).sum(-1)
    if weighted:
        each = each * of_point.unsqueeze(2)
    expected = (each.mean((0, 2, 3)) * views).sum()
    options = {"point_weights": of_point if weighted else None, "paths": Paths(true, of_classes, 0.3)}
    assert_same(parts, expected, head_loss(parts, classes, views, chunk=2, **options))


def test_focal_loss_without_discount_is_cross_entropy() -> None:
    log_p = torch.tensor([-3.0, -0.1, -1e-9, 0.0])
    loss, slope = Focal(0, 1).of(log_p)
    assert torch.allclose(loss, -log_p)
    assert torch.allclose(slope, torch.ones(4))


@pytest.mark.parametrize("gamma", [0.5, 1, 4])
def test_focal_loss_of_a_certain_prediction_is_zero_and_finite(gamma: float) -> None:
    loss, slope = Focal(gamma, 1).of(torch.tensor([0.0, -1e-30]))
    assert loss.abs().max() < 1e-6
    assert slope.abs().max() < 1e-5


def test_a_loss_scaler_keeps_half_precision_gradients_from_vanishing() -> None:
    torch.manual_seed(0)
    b, v, t, n, m, k, scale = 8, 2, 15, 400, 8, 25, 2.0**16
    shapes = [(b, 1, t, m), (1, v, n, m), (k, m), (b, 1, t, k)]
    exact = HeadParts(*(torch.randn(shape, requires_grad=True) for shape in shapes))
    half = HeadParts(*(part.detach().half().requires_grad_() for part in exact))
    classes = torch.randint(k, (b, v, t, n))
    weights = torch.tensor([0.9, 0.1])

    wanted = torch.autograd.grad(head_loss(exact, classes, weights), exact)
    found = torch.autograd.grad(head_loss(half, classes, weights) * scale, half)
    for ours, theirs in zip(found, wanted, strict=True):
        assert ours.dtype == torch.float16
        assert (ours.float() / scale - theirs).abs().max() < 0.02 * theirs.abs().max()
