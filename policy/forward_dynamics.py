"""Forward dynamics: images and the instruction -> the motion codes of the next steps (AMPLIFY, section 3.2).

One causal transformer over [image tokens, text, start token, codes so far]; at the start token and at every code it
predicts the next code. Decoding keeps the keys and values of what it has seen.
"""

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from policy.text import TEXT_DIM, TextConfig, build_text_encoder
from policy.vision import VisionConfig, build_vision_encoder
from tokenizer.fsq import FSQ
from tokenizer.tracks.model import TokenizerConfig
from tokenizer.transformer import TransformerEncoder, causal_mask


@dataclass(frozen=True)
class ForwardConfig:
    """Everything, besides the tokenizer's config, that determines forward dynamics. Defaults as published."""

    num_layers: int = 8
    num_heads: int = 8
    dropout: float = 0.1
    bias: bool = False
    vision_encoder: VisionConfig = field(default_factory=VisionConfig)
    text_encoder: TextConfig = field(default_factory=TextConfig)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def top_k_filter(logits: Tensor, k: int) -> Tensor:
    """Logits (..., classes) with all below the k-th largest at -inf; what equals the k-th largest stays."""
    threshold = logits.topk(min(k, logits.shape[-1]), -1).values[..., -1:]
    return logits.masked_fill(logits < threshold, -torch.inf)


class ForwardDynamics(nn.Module):
    """Predicts the tokenizer's codes. ``quantize`` is the tokenizer's own (frozen) quantiser."""

    def __init__(self, config: ForwardConfig, tokenizer: TokenizerConfig, quantize: FSQ):
        super().__init__()
        self.config, self.tokenizer_config = config, tokenizer
        dim, self.num_codes = tokenizer.hidden_dim, tokenizer.num_codes
        self.quantize = quantize.requires_grad_(False)
        self.vision_encoder = build_vision_encoder(config.vision_encoder, len(tokenizer.views))
        self.text_encoder = build_text_encoder(config.text_encoder)
        self.img_proj = nn.Linear(self.vision_encoder.embed_dim, dim)
        self.text_proj = nn.Linear(TEXT_DIM, dim)
        self.sos_token = nn.Parameter(torch.randn(1, 1, dim))
        condition = self.vision_encoder.num_tokens * len(tokenizer.views) + 1
        length = condition + self.num_codes
        self.trunk = TransformerEncoder(
            length,
            dim,
            config.num_layers,
            config.num_heads,
            config.dropout,
            config.bias,
            mask=causal_mask(length, condition),
        )
        self.unembed = nn.Linear(dim, tokenizer.codebook_size)

    def condition(self, image_tokens: Tensor, text: Tensor) -> Tensor:
        """Image tokens (b, v, t, e), text features (b, 512) -> (b, v * t + 1, dim)."""
        return torch.cat([self.img_proj(image_tokens.flatten(1, 2)), self.text_proj(text).unsqueeze(1)], 1)

    def encode(self, images: Tensor, text: Tensor) -> Tensor:
        """Images (b, v, h, w, 3) in [0, 1], prepared text -> condition tokens."""
        features = self.text_encoder(text)
        return self.condition(self.vision_encoder(images, features), features)

    def logits(self, condition: Tensor, indices: Tensor) -> Tensor:
        """Teacher forcing: logits (b, codes, codebook) for each of ``indices`` (b, codes), given those before it."""
        codes = self.quantize.indices_to_codes(indices[:, :-1])
        sequence = torch.cat([condition, self.sos_token.expand(len(codes), -1, -1), codes], 1)
        return self.unembed(self.trunk(sequence)[:, condition.shape[1] :])

    def forward(self, images: Tensor, text: Tensor, indices: Tensor) -> tuple[Tensor, Tensor]:
        """The training step: loss (scalar) and logits (b, codes, codebook) for the true ``indices`` (b, codes)."""
        logits = self.logits(self.encode(images, text), indices)
        return self.loss(logits, indices), logits

    @staticmethod
    def loss(logits: Tensor, indices: Tensor) -> Tensor:
        """Mean cross-entropy of logits (b, codes, codebook) and the true ``indices`` (b, codes)."""
        return F.cross_entropy(logits.float().flatten(0, 1), indices.flatten().long())

    @torch.no_grad()
    def predict(self, condition: Tensor, sampling: Literal["argmax", "topk"] = "argmax", top_k: int = 10) -> Tensor:
        """Indices (b, codes) decoded one after the other; ``topk`` samples among the ``top_k`` likeliest."""
        caches = self.trunk.make_caches()
        new = torch.cat([condition, self.sos_token.expand(len(condition), -1, -1).to(condition.dtype)], 1)
        indices = []
        for _ in range(self.num_codes):
            logits = self.unembed(self.trunk(new, caches)[:, -1])
            if sampling == "argmax":
                index = logits.argmax(-1)
            else:
                index = torch.multinomial(top_k_filter(logits.float(), top_k).softmax(-1), 1).squeeze(1)
            indices.append(index)
            new = self.quantize.indices_to_codes(index.unsqueeze(1))
        return torch.stack(indices, 1)
