"""Encoder and decoder of the Motion VAE: causal 1D convolutions over time, two halvings and two doublings.

Channels before time, (b, c, t). Every module can be fed a sequence at once, or piece by piece with a ``Stream`` that
keeps what the next piece needs; both give the same. Parameter names are the published ones.
"""

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tokenizer.body.options import BodyConfig


class Stream:
    """What convolutions remember of a sequence that comes in pieces: their last inputs, zeros before the first."""

    def __init__(self) -> None:
        self._kept: dict[nn.Module, Tensor] = {}

    def continued(self, module: nn.Module, x: Tensor, zeros: int) -> Tensor:
        """``x`` (b, c, t) after what ``module`` kept, at first after ``zeros`` zeros."""
        before = self._kept.get(module)
        return torch.cat([x.new_zeros(*x.shape[:2], zeros) if before is None else before, x], dim=-1)

    def keep(self, module: nn.Module, rest: Tensor) -> None:
        """What ``module`` will be continued from."""
        self._kept[module] = rest


class CausalConv(nn.Module):
    """A convolution whose output at a time sees that time and what was before it; with ``stride`` 2 every second time.

    ``left`` zeros come before the sequence, as many as the kernel reaches back unless something else is said.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, left: int | None = None):
        super().__init__()
        self.left = kernel - 1 if left is None else left
        self.conv = nn.Conv1d(inputs, outputs, kernel, stride)

    def forward(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        if stream is None:
            return self.conv(F.pad(x, (self.left, 0)))
        x = stream.continued(self, x, self.left)
        kernel, stride = self.conv.kernel_size[0], self.conv.stride[0]
        count = max((x.shape[-1] - kernel) // stride + 1, 0)
        stream.keep(self, x[..., count * stride :])
        if not count:
            return x.new_zeros(len(x), self.conv.out_channels, 0)
        return self.conv(x[..., : (count - 1) * stride + kernel])


class Doubling(nn.Module):
    """A transposed convolution, (b, c, t) -> (b, c, 2 t); causal, the outputs of a time see it and the one before."""

    def __init__(self, width: int, causal: bool):
        super().__init__()
        self.conv = nn.ConvTranspose1d(width, width, 4, 2)
        self.first = 0 if causal else 1

    def forward(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        if stream is None:
            return self.conv(x)[..., self.first : self.first + 2 * x.shape[-1]]
        if not x.shape[-1]:
            return x
        continued = stream.continued(self, x, 1)
        stream.keep(self, x[..., -1:])
        return self.conv(continued)[..., 2:-2]


class GroupNorm(nn.GroupNorm):
    """Over the channels of a group; in the published mode over all of the clip's time steps, too."""

    def __init__(self, groups: int, width: int, causal: bool):
        super().__init__(groups, width)
        self.causal = causal

    def forward(self, x: Tensor) -> Tensor:
        if not self.causal:
            return super().forward(x)
        if not x.shape[-1]:
            return x
        frames = x.transpose(1, 2)
        return super().forward(frames.flatten(0, 1)).view_as(frames).transpose(1, 2)


class ResidualBlock(nn.Module):
    """Adds to (b, c, t) what two normalised, activated convolutions make of it."""

    def __init__(self, c: BodyConfig):
        super().__init__()
        causal = c.mode == "causal"
        self.conv1, self.conv2 = (CausalConv(c.hidden_dim, c.hidden_dim, 3) for _ in range(2))
        self.norm1, self.norm2 = (GroupNorm(c.groups, c.hidden_dim, causal) for _ in range(2))

    def forward(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        inner = self.conv1(F.silu(self.norm1(x)), stream)
        return x + self.conv2(F.silu(self.norm2(inner)), stream)


def _blocks(c: BodyConfig) -> nn.ModuleList:
    return nn.ModuleList(ResidualBlock(c) for _ in range(c.num_resnet_blocks))


def _through(layers: Iterable[nn.Module], x: Tensor, stream: Stream | None) -> Tensor:
    for layer in layers:
        x = layer(x, stream)
    return x


class Encoder(nn.Module):
    """(b, d, t) -> (b, 2 z, ceil(t / 4)): means, then logarithms of variances, which are not bounded yet."""

    def __init__(self, c: BodyConfig):
        super().__init__()
        width, left = c.hidden_dim, 2 if c.look_ahead else 3
        self.input_proj = CausalConv(c.input_dim, width, 3)
        self.stage1_blocks = _blocks(c)
        self.downsample1 = CausalConv(width, width, 4, 2, left)
        self.stage2_blocks = _blocks(c)
        self.downsample2 = CausalConv(width, width, 4, 2, left)
        self.final_blocks = _blocks(c)
        self.output_proj = CausalConv(width, 2 * c.latent_dim, 1)
        _small(self.output_proj.conv)

    def forward(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        x = _through([self.input_proj, *self.stage1_blocks, self.downsample1], x, stream)
        x = _through([*self.stage2_blocks, self.downsample2, *self.final_blocks], x, stream)
        return self.output_proj(x, stream)


class Decoder(nn.Module):
    """(b, z, s) -> (b, d, 4 s)."""

    def __init__(self, c: BodyConfig):
        super().__init__()
        width, causal = c.hidden_dim, c.mode == "causal"
        self.input_proj = CausalConv(c.latent_dim, width, 3)
        self.stage1_blocks = _blocks(c)
        self.upsample1 = Doubling(width, causal)
        self.stage2_blocks = _blocks(c)
        self.upsample2 = Doubling(width, causal)
        self.final_blocks = _blocks(c)
        self.output_proj = CausalConv(width, c.input_dim, 1)
        _small(self.output_proj.conv)

    def forward(self, z: Tensor, stream: Stream | None = None) -> Tensor:
        x = _through([self.input_proj, *self.stage1_blocks, self.upsample1], z, stream)
        x = _through([*self.stage2_blocks, self.upsample2, *self.final_blocks], x, stream)
        return self.output_proj(x, stream)


def _small(conv: nn.Conv1d) -> None:
    """Outputs start near zero, so that the first steps are not spent on taking random motion back."""
    nn.init.normal_(conv.weight, std=0.01)
    assert conv.bias is not None
    nn.init.zeros_(conv.bias)
