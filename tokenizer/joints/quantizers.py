"""The quantizers of the motion VQ-VAE: four that learn a codebook as T2M-GPT (Zhang et al., 2023) does, and two others.

    ema_reset  codes are running means of what they stand for; those that are hardly used start anew
    ema        the same, and none starts anew
    reset      codes follow the gradient; those that are not used start anew
    orig       codes follow the gradient (van den Oord et al., 2017)
    fsq        no codebook: each number is rounded to a few levels (``tokenizer.fsq``)
    residual   several layers, each coding what those before leave (vector-quantize-pytorch)

The first four are ours, because the library updates differently: it smooths counts, and starts dead codes from random
rows. Everything is computed in float32.
"""

from abc import ABC, abstractmethod
from math import ceil, sqrt
from typing import NamedTuple

import torch
from torch import Tensor, nn
from vector_quantize_pytorch import ResidualVQ

from tokenizer.fsq import FSQ
from tokenizer.joints.options import JointTokenizerConfig

FORGOTTEN = 1e-6
"""A running count below this says nothing about a code any more: it keeps its vector."""


class Quantized(NamedTuple):
    """What became of z (b, d, s)."""

    vectors: Tensor
    """(b, d, s), with a straight-through gradient"""
    indices: Tensor
    """(b, s), of a residual quantizer (b, s, layers), int64"""
    commitment: Tensor
    """mean square of z - vectors, with a gradient for the encoder"""
    codebook: Tensor
    """what teaches the codebook where the gradient does; else 0"""
    perplexity: Tensor
    """as many codes used alike would be as uncertain as those of this batch"""


def perplexity_of(counts: Tensor, floor: float = 1e-7) -> Tensor:
    """exp(-sum p log(p + floor)) of how often each code was used (k,)."""
    p = counts / counts.sum()
    return torch.exp(-(p * (p + floor).log()).sum())


class Quantizer(nn.Module, ABC):
    """Vectors (b, d, s) become codes, and these vectors again."""

    num_codes: int

    @abstractmethod
    def forward(self, z: Tensor) -> Quantized:
        """Quantises; in training mode the codebook learns from it, for the next call."""

    @abstractmethod
    def lookup(self, indices: Tensor) -> Tensor:
        """(b, s) or (b, s, layers) -> vectors (b, d, s)."""

    def encode(self, z: Tensor) -> Tensor:
        """The indices alone, (b, s) or (b, s, layers), in eval mode."""
        return self(z).indices


class _Codebook(Quantizer):
    """One list of vectors, of which the nearest is taken."""

    perplexity_floor = 1e-7

    def __init__(self, c: JointTokenizerConfig):
        super().__init__()
        self.num_codes, self._reset_share = c.nb_code, c.reset_share

    @property
    @abstractmethod
    def vectors(self) -> Tensor:
        """The codes (k, d)."""

    def start(self, rows: Tensor) -> None:
        """Before anything else in a training step on ``rows`` (m, d)."""

    def learn(self, rows: Tensor, indices: Tensor, counts: Tensor) -> None:
        """After a training step, in which row i got the code ``indices[i]`` and each code so many."""

    def codebook_loss(self, rows: Tensor, chosen: Tensor) -> Tensor:
        """What teaches the codes ``chosen`` for ``rows``, both (m, d)."""
        return rows.new_zeros(())

    def forward(self, z: Tensor) -> Quantized:
        b, d, s = z.shape
        with torch.autocast(z.device.type, enabled=False):
            rows = z.float().transpose(1, 2).reshape(-1, d)
            known = rows.detach()
            if self.training:
                self.start(known)
            indices = self._nearest(known)
            chosen = self.vectors[indices]
            counts = torch.bincount(indices, minlength=self.num_codes).float()
            quantized = rows + (chosen - rows).detach()
            result = Quantized(
                quantized.view(b, s, d).transpose(1, 2),
                indices.view(b, s),
                (rows - chosen.detach()).square().mean(),
                self.codebook_loss(known, chosen),
                perplexity_of(counts, self.perplexity_floor),
            )
            if self.training:
                with torch.no_grad():
                    self.learn(known, indices, counts)
            return result

    def lookup(self, indices: Tensor) -> Tensor:
        return self.vectors[indices].transpose(1, 2)

    def _nearest(self, rows: Tensor) -> Tensor:
        codes = self.vectors.detach()
        distance = rows.square().sum(1, keepdim=True) - 2 * rows @ codes.T + codes.square().sum(1)
        return distance.argmin(1)

    def _threshold(self, rows: Tensor) -> float:
        """How often a code has to be used in a step on ``rows`` (m, d) to be kept."""
        return 1.0 if self._reset_share is None else self._reset_share * len(rows) / self.num_codes

    def _fill(self, rows: Tensor) -> Tensor:
        """Vectors (k, d) for codes that begin: the first of ``rows`` (m, d); where those are too few, repeated with a
        little noise."""
        if len(rows) < self.num_codes:
            rows = rows.repeat(ceil(self.num_codes / len(rows)), 1)
            rows = rows + torch.randn_like(rows) * (0.01 / sqrt(rows.shape[1]))
        return rows[: self.num_codes]


class EmaQuantizer(_Codebook):
    """Codes are running means of the vectors that they stood for; with ``reset`` those used too little start anew.

    Sums, counts and whether it has begun are part of its state: training goes on after loading as if nothing had been.
    """

    codebook: Tensor
    code_sum: Tensor
    code_count: Tensor
    begun: Tensor

    def __init__(self, c: JointTokenizerConfig, reset: bool):
        super().__init__(c)
        self._reset, self._decay = reset, c.mu
        self.register_buffer("codebook", torch.zeros(c.nb_code, c.code_dim))
        self.register_buffer("code_sum", torch.zeros(c.nb_code, c.code_dim))
        self.register_buffer("code_count", torch.ones(c.nb_code))
        self.register_buffer("begun", torch.tensor(False))

    @property
    def vectors(self) -> Tensor:
        return self.codebook

    def start(self, rows: Tensor) -> None:
        if not self.begun:
            self.codebook.copy_(self._fill(rows))
            self.code_sum.copy_(self.codebook)
            self.code_count.fill_(1.0)
            self.begun.fill_(True)

    def learn(self, rows: Tensor, indices: Tensor, counts: Tensor) -> None:
        sums = torch.zeros_like(self.code_sum).index_add_(0, indices, rows)
        self.code_sum.copy_(self._decay * self.code_sum + (1 - self._decay) * sums)
        self.code_count.copy_(self._decay * self.code_count + (1 - self._decay) * counts)
        count = self.code_count[:, None]
        means = torch.where(count > FORGOTTEN, self.code_sum / count.clamp(min=FORGOTTEN), self.codebook)
        if self._reset:
            means = torch.where(count >= self._threshold(rows), means, self._fill(rows))
        self.codebook.copy_(means)


class ResetQuantizer(_Codebook):
    """Codes follow the gradient of their distance to what they stand for; those used too little start anew.

    The document's code gives them no gradient, so that there only starting anew ever changes one.
    """

    begun: Tensor

    def __init__(self, c: JointTokenizerConfig):
        super().__init__(c)
        self.codebook = nn.Parameter(torch.randn(c.nb_code, c.code_dim))
        self.register_buffer("begun", torch.tensor(False))

    @property
    def vectors(self) -> Tensor:
        return self.codebook

    def start(self, rows: Tensor) -> None:
        if not self.begun:
            with torch.no_grad():
                self.codebook.copy_(self._fill(rows))
            self.begun.fill_(True)

    def codebook_loss(self, rows: Tensor, chosen: Tensor) -> Tensor:
        return (chosen - rows).square().mean()

    def learn(self, rows: Tensor, indices: Tensor, counts: Tensor) -> None:
        kept = (counts >= self._threshold(rows))[:, None]
        self.codebook.data.copy_(torch.where(kept, self.codebook, self._fill(rows)))


class GradientQuantizer(_Codebook):
    """Codes follow the gradient of their distance to what they stand for."""

    perplexity_floor = 1e-10

    def __init__(self, c: JointTokenizerConfig):
        super().__init__(c)
        self._beta = c.beta
        self.embedding = nn.Embedding(c.nb_code, c.code_dim)
        nn.init.uniform_(self.embedding.weight, -1 / c.nb_code, 1 / c.nb_code)

    @property
    def vectors(self) -> Tensor:
        return self.embedding.weight

    def codebook_loss(self, rows: Tensor, chosen: Tensor) -> Tensor:
        return (chosen - rows).square().mean()

    def forward(self, z: Tensor) -> Quantized:
        found = super().forward(z)
        return found._replace(commitment=self._beta * found.commitment)


class ScalarQuantizer(Quantizer):
    """Finite scalar quantisation; nothing to learn but the projections, so no loss."""

    def __init__(self, c: JointTokenizerConfig):
        super().__init__()
        self.fsq = FSQ(c.code_dim, c.nb_code)
        self.num_codes = self.fsq.num_codes

    def forward(self, z: Tensor) -> Quantized:
        codes, indices = self.fsq(z.transpose(1, 2))
        zero = z.new_zeros((), dtype=torch.float32)
        counts = torch.bincount(indices.flatten(), minlength=self.num_codes).float()
        return Quantized(codes.transpose(1, 2), indices, zero, zero, perplexity_of(counts))

    def lookup(self, indices: Tensor) -> Tensor:
        return self.fsq.indices_to_codes(indices).transpose(1, 2)


class ResidualQuantizer(Quantizer):
    """Layers of codebooks, each for what the ones before leave (Lee et al., 2022); running means, and codes that are
    not used begin anew."""

    def __init__(self, c: JointTokenizerConfig):
        super().__init__()
        self.num_codes = c.nb_code
        self.layers = ResidualVQ(
            dim=c.code_dim, num_quantizers=c.quantizer_layers, codebook_size=c.nb_code, decay=c.mu, kmeans_init=True,
            kmeans_iters=10, threshold_ema_dead_code=1, commitment_weight=1.0,
        )  # fmt: skip

    def forward(self, z: Tensor) -> Quantized:
        with torch.autocast(z.device.type, enabled=False):
            vectors, indices, losses = self.layers(z.float().transpose(1, 2))
        counts = [torch.bincount(layer.flatten(), minlength=self.num_codes).float() for layer in indices.unbind(-1)]
        perplexity = torch.stack([perplexity_of(count) for count in counts]).mean()
        return Quantized(vectors.transpose(1, 2), indices.long(), losses.mean(), losses.new_zeros(()), perplexity)

    def lookup(self, indices: Tensor) -> Tensor:
        codebooks = self.layers.codebooks
        chosen = [codes[layer] for codes, layer in zip(codebooks, indices.unbind(-1), strict=True)]
        return torch.stack(chosen).sum(0).transpose(1, 2)

    def encode(self, z: Tensor) -> Tensor:
        # the library's forward takes milliseconds, which one frame does not have
        left, indices = z.float().transpose(1, 2), []
        for codes in self.layers.codebooks:
            distance = codes.square().sum(1) - 2 * left @ codes.T
            indices.append(distance.argmin(-1))
            left = left - codes[indices[-1]]
        return torch.stack(indices, -1)


def make_quantizer(c: JointTokenizerConfig) -> Quantizer:
    """The quantizer that the options name."""
    if c.quantizer in ("ema_reset", "ema"):
        return EmaQuantizer(c, reset=c.quantizer == "ema_reset")
    if c.quantizer == "reset":
        return ResetQuantizer(c)
    if c.quantizer == "orig":
        return GradientQuantizer(c)
    return ScalarQuantizer(c) if c.quantizer == "fsq" else ResidualQuantizer(c)
