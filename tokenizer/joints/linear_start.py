"""A beginning for the training of a joint tokenizer: the best that can be done linearly, instead of nearly nothing.

From random weights the convolutions themselves lose most of what is lost, more than the codes do, and poses that no
training motion has are rebuilt badly. Here the network begins as a linear one: principal components of the features,
averaged over the frames of a code, and on the way back straight lines between them. The ReLUs on the way are passed by
pairs of channels, one for the positive and one for the negative part; residual blocks begin by adding nothing.
Codebooks then begin with what this path gives, and training goes on from there.
"""

import torch
from torch import Tensor, nn

from tokenizer.joints.network import Decoder, Encoder, ResidualBlock

_AVERAGE = (0.0, 0.5, 0.5, 0.0)
"""Taps of a halving: the mean of two frames."""
_INTERPOLATION = (0.25, 0.5, 0.25)
"""Taps behind a doubling, which repeats each frame: on the straight line between two means."""
_NOTHING = 1e-7
"""Components with less than this share of the first one's variance are not there."""


@torch.no_grad()
def start_linear(encoder: Encoder, decoder: Decoder, frames: Tensor) -> None:
    """Sets all weights of the linear path, from normalised features (t, d) of the training data.

    The width holds two channels a component: the components are at most half of it, and at most the code's numbers.
    """
    first, *halvings, to_code = (layer for layer in encoder.model if not isinstance(layer, nn.ReLU))
    from_code, *doublings, inner, last = (layer for layer in decoder.model if not isinstance(layer, nn.ReLU))
    variance, axes = torch.linalg.eigh(torch.cov(frames.double().T))
    count = int((variance > _NOTHING * variance[-1]).sum())
    assert isinstance(first, nn.Conv1d)
    assert isinstance(to_code, nn.Conv1d)
    count = min(count, to_code.out_channels, first.out_channels // 2)
    components = axes.flip(1)[:, :count].T.float()  # (count, d)
    mean = components @ frames.mean(0)

    for block in (*encoder.modules(), *decoder.modules()):
        if isinstance(block, ResidualBlock):
            nn.init.zeros_(block.conv2.weight)
            nn.init.zeros_(block.conv2.bias)  # type: ignore[arg-type]
    identity = torch.eye(count)
    split, join, pairs = torch.cat([identity, -identity]), torch.cat([identity, -identity], 1), torch.eye(2 * count)
    _set(first, split @ components, bias=-split @ mean)
    for halving in halvings:
        _set(halving[0], pairs, _AVERAGE)  # type: ignore[index]
    nn.init.zeros_(to_code.weight)
    _set(to_code, join)
    _set(from_code, split)
    for doubling in doublings:
        _set(doubling[2], pairs, _INTERPOLATION)  # type: ignore[index]
    _set(inner, pairs)
    _set(last, components.T @ join, bias=frames.mean(0))


def _set(
    conv: nn.Module, matrix: Tensor, taps: tuple[float, ...] = (0.0, 1.0, 0.0), bias: Tensor | float = 0.0
) -> None:
    """The first outputs become ``matrix`` (outputs, inputs) times the first inputs, weighted over time by ``taps``."""
    assert isinstance(conv, nn.Conv1d)
    assert conv.bias is not None
    outputs, inputs = matrix.shape
    conv.weight[:outputs] = 0
    conv.weight[:outputs, :inputs] = matrix[..., None] * torch.tensor(taps)
    conv.bias[:outputs] = bias
