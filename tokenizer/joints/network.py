"""Encoder and decoder of the motion VQ-VAE: 1D convolutions over time with dilated residual blocks.

The architecture of T2M-GPT (Zhang et al., 2023); channels before time, (b, d, t).
"""

from torch import Tensor, nn

from tokenizer.joints.options import JointTokenizerConfig

_ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "silu": nn.SiLU, "gelu": nn.GELU}


class _ChannelNorm(nn.LayerNorm):
    """Over the channels at each time step."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.transpose(1, 2)).transpose(1, 2)


def _norm(kind: str | None, width: int) -> nn.Module:
    if kind == "LN":
        return _ChannelNorm(width)
    if kind == "GN":
        return nn.GroupNorm(32, width, eps=1e-6)
    if kind == "BN":
        return nn.BatchNorm1d(width, eps=1e-6)
    return nn.Identity()


class ResidualBlock(nn.Module):
    """Adds to (b, width, t) what two convolutions make of it, the first one dilated."""

    def __init__(self, width: int, dilation: int, activation: str, norm: str | None):
        super().__init__()
        self.norm1, self.norm2 = _norm(norm, width), _norm(norm, width)
        self.activation = _ACTIVATIONS[activation]()
        self.conv1 = nn.Conv1d(width, width, 3, padding=dilation, dilation=dilation)
        self.conv2 = nn.Conv1d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        inner = self.conv1(self.activation(self.norm1(x)))
        return x + self.conv2(self.activation(self.norm2(inner)))


class ResidualStack(nn.Module):
    """``depth`` blocks whose dilation falls by the factor ``growth`` down to 1."""

    def __init__(self, width: int, depth: int, growth: int, activation: str, norm: str | None):
        super().__init__()
        dilations = [growth**exponent for exponent in reversed(range(depth))]
        self.model = nn.Sequential(*(ResidualBlock(width, dilation, activation, norm) for dilation in dilations))

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)


def _stack(c: JointTokenizerConfig) -> ResidualStack:
    return ResidualStack(c.width, c.depth, c.dilation_growth_rate, c.vq_act, c.vq_norm)


class Encoder(nn.Module):
    """(b, features, t) -> (b, code_dim, t / 2 ** down_t)."""

    def __init__(self, features: int, c: JointTokenizerConfig):
        super().__init__()
        halvings = [nn.Sequential(nn.Conv1d(c.width, c.width, 4, 2, 1), _stack(c)) for _ in range(c.down_t)]
        self.model = nn.Sequential(
            nn.Conv1d(features, c.width, 3, padding=1),
            nn.ReLU(),
            *halvings,
            nn.Conv1d(c.width, c.code_dim, 3, padding=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)


class Decoder(nn.Module):
    """(b, code_dim, s) -> (b, features, s * 2 ** down_t)."""

    def __init__(self, features: int, c: JointTokenizerConfig):
        super().__init__()
        doublings = [
            nn.Sequential(_stack(c), nn.Upsample(scale_factor=2), nn.Conv1d(c.width, c.width, 3, padding=1))
            for _ in range(c.down_t)
        ]
        self.model = nn.Sequential(
            nn.Conv1d(c.code_dim, c.width, 3, padding=1),
            nn.ReLU(),
            *doublings,
            nn.Conv1d(c.width, c.width, 3, padding=1),
            nn.ReLU(),
            nn.Conv1d(c.width, features, 3, padding=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)
