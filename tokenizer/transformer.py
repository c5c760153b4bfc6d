"""The transformer that tokenizer, forward and inverse dynamics share: pre-norm blocks, learned positions, no biases.

Parameter names and packing follow the published AMPLIFY weights, so these load unchanged. Masks are boolean (queries,
keys) with True = may attend; ``None`` means everything attends to everything.
"""

from collections.abc import Sequence
from math import sqrt
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def causal_mask(length: int, condition: int = 0) -> Tensor:
    """(length, length): each position sees itself and what is before it, and all of the first ``condition`` ones."""
    mask = torch.ones(length, length, dtype=torch.bool).tril()
    mask[:, :condition] = True
    return mask


def diagonal_mask(length: int, condition: int = 0) -> Tensor:
    """(length, length): each position sees itself and all of the first ``condition`` ones."""
    mask = torch.eye(length, dtype=torch.bool)
    mask[:, :condition] = True
    return mask


Places = Tensor | slice
"""Some of the places of a sequence: their numbers (n,), or a slice"""


class Cache(Protocol):
    """Keys and values of the positions that one attention layer has seen."""

    def append(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Adds (b, heads, new, d) keys and values; returns those of all positions so far."""


class KeyValueCache:
    """Keys and values of the positions one attention layer has seen, for decoding one token at a time."""

    def __init__(self, capacity: int):
        self.capacity, self.length = capacity, 0
        self._store: Tensor | None = None

    def append(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Adds (b, heads, new, d) keys and values; returns those of all positions so far."""
        if self._store is None:
            b, heads, _, d = key.shape
            self._store = key.new_empty(2, b, heads, self.capacity, d)
        start, self.length = self.length, self.length + key.shape[2]
        self._store[0, :, :, start : self.length] = key
        self._store[1, :, :, start : self.length] = value
        return self._store[0, :, :, : self.length], self._store[1, :, :, : self.length]

    def repeat(self, count: int) -> None:
        """Goes on with ``count`` copies of each sample, side by side."""
        if self._store is not None:
            self._store = self._store.repeat_interleave(count, 1)


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None, dropout: float = 0.0) -> Tensor:
    """Scaled dot-product attention of (b, heads, t, d) queries, keys and values."""
    if q.device.type == "cpu" and q.dtype == torch.bfloat16 and q.requires_grad:
        # torch's fused kernel is up to eight times slower in its backward pass here
        scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
        if mask is not None:
            scores = scores.masked_fill(~mask, -torch.inf)
        return F.dropout(scores.softmax(-1).to(v.dtype), dropout) @ v
    return F.scaled_dot_product_attention(q, k, v, mask, dropout)


def _split_heads(x: Tensor, heads: int) -> Tensor:
    """(b, t, heads * d) -> (b, heads, t, d)"""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def _merge_heads(x: Tensor) -> Tensor:
    """(b, heads, t, d) -> (b, t, heads * d)"""
    return x.transpose(1, 2).flatten(2)


class SelfAttention(nn.Module):
    def __init__(self, dim: int, heads: int, dropout: float, bias: bool):
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.c_attn = nn.Linear(dim, 3 * dim, bias=bias)
        self.c_proj = nn.Linear(dim, dim, bias=bias)

    def forward(
        self, x: Tensor, mask: Tensor | None, cache: Cache | None = None, asked: Places | None = None
    ) -> Tensor:
        q, k, v = (_split_heads(part, self.heads) for part in self.c_attn(x).chunk(3, -1))
        if cache is not None:
            k, v = cache.append(k, v)
        if asked is not None:
            q, mask = q[:, :, asked], None if mask is None else mask[asked]
        y = attend(q, k, v, mask, self.dropout if self.training else 0.0)
        return F.dropout(self.c_proj(_merge_heads(y)), self.dropout, self.training)


class CrossAttention(nn.Module):
    def __init__(self, dim: int, heads: int, dropout: float, bias: bool):
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.q_proj = nn.Linear(dim, dim, bias=bias)
        self.kv_proj = nn.Linear(dim, 2 * dim, bias=bias)
        self.c_proj = nn.Linear(dim, dim, bias=bias)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        q = _split_heads(self.q_proj(x), self.heads)
        k, v = (_split_heads(part, self.heads) for part in self.kv_proj(condition).chunk(2, -1))
        y = attend(q, k, v, dropout=self.dropout if self.training else 0.0)
        return F.dropout(self.c_proj(_merge_heads(y)), self.dropout, self.training)


class MLP(nn.Module):
    def __init__(self, dim: int, dropout: float, bias: bool):
        super().__init__()
        self.dropout = dropout
        self.c_fc = nn.Linear(dim, 4 * dim, bias=bias)
        self.c_proj = nn.Linear(4 * dim, dim, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(self.c_proj(F.gelu(self.c_fc(x))), self.dropout, self.training)


class EncoderBlock(nn.Module):
    def __init__(self, dim: int, heads: int, dropout: float, bias: bool):
        super().__init__()
        self.ln_1 = nn.LayerNorm(dim, bias=bias)
        self.attn = SelfAttention(dim, heads, dropout, bias)
        self.ln_2 = nn.LayerNorm(dim, bias=bias)
        self.mlp = MLP(dim, dropout, bias)

    def forward(
        self, x: Tensor, mask: Tensor | None, cache: Cache | None = None, asked: Places | None = None
    ) -> Tensor:
        x = (x if asked is None else x[:, asked]) + self.attn(self.ln_1(x), mask, cache, asked)
        return x + self.mlp(self.ln_2(x))


class DecoderBlock(nn.Module):
    """Self-attention, MLP, cross-attention to an un-normalised condition, second MLP: in this order, as published."""

    def __init__(self, dim: int, heads: int, dropout: float, bias: bool):
        super().__init__()
        self.ln_1 = nn.LayerNorm(dim, bias=bias)
        self.self_attn = SelfAttention(dim, heads, dropout, bias)
        self.ln_2 = nn.LayerNorm(dim, bias=bias)
        self.mlp = MLP(dim, dropout, bias)
        self.ln_3 = nn.LayerNorm(dim, bias=bias)
        self.cross_attn = CrossAttention(dim, heads, dropout, bias)
        self.ln_4 = nn.LayerNorm(dim, bias=bias)
        self.mlp_2 = MLP(dim, dropout, bias)

    def forward(self, x: Tensor, condition: Tensor, mask: Tensor | None = None) -> Tensor:
        x = x + self.self_attn(self.ln_1(x), mask)
        x = x + self.mlp(self.ln_2(x))
        x = x + self.cross_attn(self.ln_3(x), condition)
        return x + self.mlp_2(self.ln_4(x))


class _Layers(nn.Module):
    """Positions, blocks and final norm, under their published names."""

    def __init__(self, length: int, dim: int, blocks: list[nn.Module], bias: bool):
        super().__init__()
        self.pos_emb = nn.Embedding(length, dim)
        self.h = nn.ModuleList(blocks)
        self.ln_f = nn.LayerNorm(dim, bias=bias)


class _Stack(nn.Module):
    """What encoder and decoder stacks share: layers, their initialisation, and adding positions to the input."""

    def __init__(self, length: int, dim: int, blocks: list[nn.Module], dropout: float, bias: bool):
        super().__init__()
        self.dropout = dropout
        self.transformer = _Layers(length, dim, blocks, bias)
        for name, parameter in self.named_parameters():
            if name.endswith(".bias"):
                nn.init.zeros_(parameter)
            elif name.endswith("c_proj.weight"):
                nn.init.normal_(parameter, std=0.02 / sqrt(2 * len(blocks)))
            elif parameter.ndim == 2:
                nn.init.normal_(parameter, std=0.02)

    def embed(self, x: Tensor, start: int = 0) -> Tensor:
        x = x + self.transformer.pos_emb.weight[start : start + x.shape[1]]
        return F.dropout(x, self.dropout, self.training)


class TransformerEncoder(_Stack):
    """(b, t, dim) -> (b, t, dim), t <= length, self-attention under ``mask`` (length, length).

    Of the ``t`` places only those ``asked`` are answered, where that is given: of the others the last layer computes
    nothing but keys and values.
    """

    mask: Tensor | None

    def __init__(
        self,
        length: int,
        dim: int,
        layers: int,
        heads: int,
        dropout: float = 0.1,
        bias: bool = False,
        mask: Tensor | None = None,
    ):
        super().__init__(length, dim, [EncoderBlock(dim, heads, dropout, bias) for _ in range(layers)], dropout, bias)
        self.length, self.layers = length, layers
        self.register_buffer("mask", mask, persistent=False)

    def make_caches(self) -> list[KeyValueCache]:
        """Empty caches, one a layer; pass the same list to consecutive calls that continue one sequence."""
        return [KeyValueCache(self.length) for _ in range(self.layers)]

    def forward(self, x: Tensor, caches: list[KeyValueCache] | None = None, asked: Places | None = None) -> Tensor:
        start = caches[0].length if caches else 0
        end = start + x.shape[1]
        # a row of the mask beyond the first call tells what a new position sees of the cached ones
        mask = None if self.mask is None else self.mask[start:end, :end]
        return self.layers_on(self.embed(x, start), mask, caches or [None] * self.layers, asked)

    def layers_on(
        self, x: Tensor, mask: Tensor | None, caches: Sequence[Cache | None], asked: Places | None = None
    ) -> Tensor:
        """Embedded places (b, t, dim) -> (b, t or asked, dim), under a mask (t, all so far) of the caller's."""
        *others, last = zip(self.transformer.h, caches, strict=True)
        for block, cache in others:
            x = block(x, mask, cache)
        block, cache = last
        return self.transformer.ln_f(block(x, mask, cache, asked))


class TransformerDecoder(_Stack):
    """Queries (b, t, dim) that attend to each other under ``mask`` (length, length) and to all of a condition
    (b, c, dim) of any length -> (b, t, dim)."""

    mask: Tensor | None

    def __init__(
        self,
        length: int,
        dim: int,
        layers: int,
        heads: int,
        dropout: float = 0.1,
        bias: bool = False,
        mask: Tensor | None = None,
    ):
        super().__init__(length, dim, [DecoderBlock(dim, heads, dropout, bias) for _ in range(layers)], dropout, bias)
        self.register_buffer("mask", mask, persistent=False)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        mask = None if self.mask is None else self.mask[: x.shape[1], : x.shape[1]]
        x = self.embed(x)
        for block in self.transformer.h:
            x = block(x, condition, mask)
        return self.transformer.ln_f(x)
