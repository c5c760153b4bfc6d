"""The fused loss is the plain one: same value, same gradients."""

import pytest
import torch
import torch.nn.functional as F

from tokenizer.tracks.head_loss import HeadParts, head_loss


@pytest.mark.parametrize("views_of_time", [1, 2])
def test_loss_and_gradients_equal_those_of_plain_cross_entropy(views_of_time: int) -> None:
    torch.manual_seed(0)
    b, v, t, n, m, k = 5, 2, 3, 4, 8, 9
    shapes = [(b, views_of_time, t, m), (n, m), (v, m), (k, m), (b, views_of_time, t, k)]
    parts = HeadParts(*(torch.randn(shape, requires_grad=True) for shape in shapes))
    classes = torch.randint(k, (b, v, t, n))
    weights = torch.tensor([0.9, 0.1])

    hidden = F.relu(parts.time.unsqueeze(3) + parts.track + parts.view[:, None, None])
    logits = hidden @ parts.weight.T + parts.shared.unsqueeze(3)
    plain = F.cross_entropy(logits.flatten(0, 3), classes.flatten(), reduction="none").view(classes.shape)
    expected = (plain.mean((0, 2, 3)) * weights).sum()
    wanted = torch.autograd.grad(expected * 3, parts)

    loss = head_loss(parts, classes, weights, chunk=2)
    found = torch.autograd.grad(loss * 3, parts)
    assert torch.allclose(loss, expected, rtol=1e-5)
    for ours, theirs in zip(found, wanted, strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-4, atol=1e-6)


def test_a_loss_scaler_keeps_half_precision_gradients_from_vanishing() -> None:
    torch.manual_seed(0)
    b, v, t, n, m, k, scale = 8, 2, 15, 400, 8, 25, 2.0**16
    shapes = [(b, 1, t, m), (n, m), (v, m), (k, m), (b, 1, t, k)]
    exact = HeadParts(*(torch.randn(shape, requires_grad=True) for shape in shapes))
    half = HeadParts(*(part.detach().half().requires_grad_() for part in exact))
    classes = torch.randint(k, (b, v, t, n))
    weights = torch.tensor([0.9, 0.1])

    wanted = torch.autograd.grad(head_loss(exact, classes, weights), exact)
    found = torch.autograd.grad(head_loss(half, classes, weights) * scale, half)
    for ours, theirs in zip(found, wanted, strict=True):
        assert ours.dtype == torch.float16
        assert (ours.float() / scale - theirs).abs().max() < 0.02 * theirs.abs().max()
