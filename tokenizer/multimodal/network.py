"""Encoder and decoder of the masked model: 4M's transformer (Mizrahi et al., 2023), pre-norm and without biases.

Parameter names follow the published weights. Masks of padding are boolean (b, t), True where there is something.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tokenizer.transformer import attend


def layer_norm(dim: int) -> nn.LayerNorm:
    """The norm that is used everywhere."""
    return nn.LayerNorm(dim, eps=1e-6, bias=False)


def sine_positions(length: int, dim: int) -> Tensor:
    """(length, dim) fixed embeddings of positions: sines in the first half, cosines in the second."""
    half = dim // 2
    frequencies = 10_000 ** -(torch.arange(half, dtype=torch.float64) / half)
    angles = torch.arange(length, dtype=torch.float64)[:, None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], 1).float()


def key_mask(pad_mask: Tensor | None) -> Tensor | None:
    """(b, k) -> (b, 1, 1, k), what every query may attend to: what is there, or all where nothing is.

    A query without a single key would have the softmax of nothing, which is not a number.
    """
    if pad_mask is None:
        return None
    return (pad_mask | ~pad_mask.any(-1, keepdim=True))[:, None, None]


class Attention(nn.Module):
    """Self-attention of (b, t, dim)."""

    def __init__(self, dim: int, head_dim: int):
        super().__init__()
        self.head_dim = head_dim
        self.qkv_proj = nn.Linear(dim, 3 * dim, bias=False)
        self.attn_out_proj = nn.Linear(dim, dim, bias=False)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        q, k, v = (_heads(part, self.head_dim) for part in self.qkv_proj(x).chunk(3, -1))
        return self.attn_out_proj(attend(q, k, v, mask).transpose(1, 2).flatten(2))


class CrossAttention(nn.Module):
    """Attention of queries (b, t, dim) to a context (b, k, dim)."""

    def __init__(self, dim: int, head_dim: int):
        super().__init__()
        self.head_dim = head_dim
        self.q_proj = nn.Linear(dim, dim, bias=False)
        self.kv_proj = nn.Linear(dim, 2 * dim, bias=False)
        self.attn_out_proj = nn.Linear(dim, dim, bias=False)

    def forward(self, x: Tensor, context: Tensor, mask: Tensor | None) -> Tensor:
        q = _heads(self.q_proj(x), self.head_dim)
        k, v = (_heads(part, self.head_dim) for part in self.kv_proj(context).chunk(2, -1))
        return self.attn_out_proj(attend(q, k, v, mask).transpose(1, 2).flatten(2))


def _heads(x: Tensor, head_dim: int) -> Tensor:
    return x.unflatten(-1, (-1, head_dim)).transpose(1, 2)


class MLP(nn.Module):
    def __init__(self, dim: int, ratio: float):
        super().__init__()
        self.fc1 = nn.Linear(dim, int(dim * ratio), bias=False)
        self.fc2 = nn.Linear(int(dim * ratio), dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


class EncoderBlock(nn.Module):
    def __init__(self, dim: int, head_dim: int, ratio: float):
        super().__init__()
        self.norm1 = layer_norm(dim)
        self.attn = Attention(dim, head_dim)
        self.norm2 = layer_norm(dim)
        self.mlp = MLP(dim, ratio)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        x = x + self.attn(self.norm1(x), mask)
        return x + self.mlp(self.norm2(x))


class DecoderBlock(nn.Module):
    def __init__(self, dim: int, head_dim: int, ratio: float):
        super().__init__()
        self.norm1 = layer_norm(dim)
        self.self_attn = Attention(dim, head_dim)
        self.query_norm, self.context_norm = layer_norm(dim), layer_norm(dim)
        self.cross_attn = CrossAttention(dim, head_dim)
        self.norm2 = layer_norm(dim)
        self.mlp = MLP(dim, ratio)

    def forward(self, x: Tensor, context: Tensor, mask: Tensor | None, context_mask: Tensor | None) -> Tensor:
        x = x + self.self_attn(self.norm1(x), mask)
        x = x + self.cross_attn(self.query_norm(x), self.context_norm(context), context_mask)
        return x + self.mlp(self.norm2(x))


class Encoder(nn.Module):
    """(b, t, dim) -> (b, t, dim); everything attends to everything that is there."""

    def __init__(self, dim: int, depth: int, head_dim: int, ratio: float):
        super().__init__()
        self.blocks = nn.ModuleList(EncoderBlock(dim, head_dim, ratio) for _ in range(depth))

    def forward(self, x: Tensor, pad_mask: Tensor | None) -> Tensor:
        mask = key_mask(pad_mask)
        for block in self.blocks:
            x = block(x, mask)
        return x


class Decoder(nn.Module):
    """Queries (b, t, dim) that attend to each other and to a context (b, k, dim) -> (b, t, dim)."""

    def __init__(self, dim: int, depth: int, head_dim: int, ratio: float):
        super().__init__()
        self.blocks = nn.ModuleList(DecoderBlock(dim, head_dim, ratio) for _ in range(depth))

    def forward(self, x: Tensor, context: Tensor, pad_mask: Tensor | None, context_pad_mask: Tensor | None) -> Tensor:
        mask, context_mask = key_mask(pad_mask), key_mask(context_pad_mask)
        for block in self.blocks:
            x = block(x, context, mask, context_mask)
        return x
