"""Forward dynamics: images and the instruction -> the motion codes of the next steps (AMPLIFY, section 3.2).

One causal transformer over [image tokens, text, start token, codes so far]; at the start token and at every code it
predicts the next code. Decoding keeps the keys and values of what it has seen.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from common.errors import require
from policy.code_heads import CodeHead, JointCodeHead, LevelsCodeHead
from policy.text import TEXT_DIM, TextConfig, build_text_encoder
from policy.vision import VisionConfig, build_vision_encoder
from tokenizer.fsq import FSQ
from tokenizer.sampling import Sampling
from tokenizer.tracks.model import TokenizerConfig
from tokenizer.transformer import TransformerEncoder, causal_mask


@dataclass(frozen=True)
class ForwardConfig:
    """Everything, besides the tokenizer's config, that determines forward dynamics. Defaults as published."""

    num_layers: int = 8
    num_heads: int = 8
    dropout: float = 0.1
    bias: bool = False
    code_head: Literal["joint", "levels"] = "joint"
    """joint: one softmax over the codebook; levels: a small one for each digit of a code (see ``policy.code_heads``)"""
    mask_codes: bool = True
    """with code_head=joint: outputs that are no code are never chosen; false lets them wrap around, as published"""
    codes: Literal["discrete", "soft"] = "discrete"
    """what is acted on: the vectors of codes that are chosen one after the other; or for each the mean over all codes,
    as likely as the observation alone makes them, all at once. What is learned is then both."""
    vision_encoder: VisionConfig = field(default_factory=VisionConfig)
    text_encoder: TextConfig = field(default_factory=TextConfig)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


AR_SAMPLING: Mapping[str, Sampling] = {
    "argmax": Sampling(),
    "topk": Sampling(temperature=1.0, top_k=10),
    "topp": Sampling(temperature=1.0, top_p=0.9),
}
"""How codes are chosen, by the names that AMPLIFY gives these ways."""


def ar_sampling(name: str, temperature: float = 1.0) -> Sampling:
    """The way that AMPLIFY calls so; ``temperature`` matters where anything is drawn.

    Raises:
        UserError: there is none of this name.
    """
    require(name in AR_SAMPLING, f"ar_sampling is {name!r}; it must be {', '.join(AR_SAMPLING)}")
    found = AR_SAMPLING[name]
    return found if found.greedy else replace(found, temperature=temperature)


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
        self.unembed: CodeHead
        if config.code_head == "levels":
            self.unembed = LevelsCodeHead(dim, quantize)
        else:
            self.unembed = JointCodeHead(dim, quantize, tokenizer.codebook_size, config.mask_codes)

    def condition(self, image_tokens: Tensor, text: Tensor) -> Tensor:
        """Image tokens (b, v, t, e), text features (b, 512) -> (b, v * t + 1, dim)."""
        return torch.cat([self.img_proj(image_tokens.flatten(1, 2)), self.text_proj(text).unsqueeze(1)], 1)

    def encode(self, images: Tensor, text: Tensor) -> Tensor:
        """Images (b, v, h, w, 3) in [0, 1], prepared text -> condition tokens."""
        features = self.text_encoder(text)
        return self.condition(self.vision_encoder(images, features), features)

    def logits(self, condition: Tensor, indices: Tensor | None = None) -> Tensor:
        """Logits (b, codes, outputs) for each of ``indices`` (b, codes), given those before it (teacher forcing).

        Without indices for each code given the condition alone: the start token then stands for every code before it.
        """
        start = self.sos_token.expand(condition.shape[0], -1, -1)
        if indices is None:
            codes = start.expand(-1, self.num_codes - 1, -1)
        else:
            codes = self.quantize.indices_to_codes(indices[:, :-1])
        return self.unembed(self.trunk(torch.cat([condition, start, codes], 1))[:, condition.shape[1] :])

    def losses(self, condition: Tensor, indices: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The training step on condition tokens and the true ``indices`` (b, codes).

        Returns the loss, teacher forcing's logits (b, codes, outputs), and what is acted on (b, codes, dim). Its
        gradient is that of the mean over all codes, also where codes are discrete (straight through).
        """
        logits = self.logits(condition, indices)
        loss = self.unembed.loss(logits, indices)
        if self.config.codes == "discrete":
            mean = self._mean(logits)
            chosen = self.quantize.indices_to_codes(self.unembed.likeliest(logits))
            return loss, logits, chosen + mean - mean.detach()
        at_once = self.logits(condition)
        return loss + self.unembed.loss(at_once, indices), logits, self._mean(at_once)

    def forward(self, images: Tensor, text: Tensor, indices: Tensor) -> tuple[Tensor, Tensor]:
        """The training step: loss (scalar) and logits (b, codes, outputs) for the true ``indices`` (b, codes)."""
        return self.losses(self.encode(images, text), indices)[:2]

    def _mean(self, logits: Tensor) -> Tensor:
        """(b, codes, outputs) -> the mean of the code vectors (b, codes, dim), with a gradient."""
        return self.quantize.digits_to_codes(self.unembed.expected_digits(logits))

    @torch.no_grad()
    def predict(
        self,
        condition: Tensor,
        sampling: Sampling | Literal["argmax", "topk", "topp"] = "argmax",
        generator: torch.Generator | None = None,
        samples: int = 1,
    ) -> Tensor:
        """Indices (b, codes) chosen one after the other; (b * samples, codes) with ``samples`` of each, side by side.

        The condition is seen once. Without ``generator`` torch's own draws, where anything is drawn.
        """
        choose = AR_SAMPLING[sampling] if isinstance(sampling, str) else sampling
        caches = self.trunk.make_caches()
        new = torch.cat([condition, self.sos_token.expand(len(condition), -1, -1).to(condition.dtype)], 1)
        features = self.trunk(new, caches, slice(-1, None))[:, 0].repeat_interleave(samples, 0)
        for cache in caches:
            cache.repeat(samples)
        indices: list[Tensor] = []
        while True:
            logits = self.unembed(features)
            if choose.greedy:
                indices.append(self.unembed.likeliest(logits))
            else:
                indices.append(choose(self.unembed.log_probabilities(logits), generator)[0])
            if len(indices) == self.num_codes:
                return torch.stack(indices, 1)
            features = self.trunk(self.quantize.indices_to_codes(indices[-1].unsqueeze(1)), caches)[:, -1]

    @torch.no_grad()
    def act(
        self, condition: Tensor, sampling: Sampling | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        """What is acted on, (b, codes, dim), see ``ForwardConfig.codes``; ``sampling`` and ``generator`` as ``predict``
        takes them, of discrete codes only."""
        if self.config.codes == "soft":
            return self._mean(self.logits(condition))
        return self.quantize.indices_to_codes(self.predict(condition, sampling or "argmax", generator))
