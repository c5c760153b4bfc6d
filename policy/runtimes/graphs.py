"""A policy cut into the parts that are exported, each a function of tensors without branches.

``See``: images and an instruction -> what forward dynamics starts from. ``Think``: one stretch of its sequence -> the
codes; called once for the images and the instruction, then for each code, or several that were guessed, with the keys
and values of what came before. ``Act``: the observation and the codes -> actions; or, where the head samples, what it
attends to, with which ``Refine`` is called for each of its steps. ``Follow``: codes and first points -> where these go.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from policy.amplify import Amplify
from policy.condition_tokens import given
from policy.heads.base import SamplingHead
from policy.text import WordsEncoder


def _text_features(encoder: nn.Module, text: Tensor) -> Tensor:
    return encoder.encode(text) if isinstance(encoder, WordsEncoder) else encoder(text)


def _resized(pixels: Tensor, size: int) -> Tensor:
    """Pixels (b, v, h, w, 3) at (b, v, size, size, 3), as encoders do it; always, since a graph has no branches."""
    planes = pixels.flatten(0, 1).movedim(-1, 1)
    resized = F.interpolate(planes, (size, size), mode="bilinear", align_corners=False)
    return resized.movedim(1, -1).unflatten(0, pixels.shape[:2])


class See(nn.Module):
    """Pixels (b, v, h, w, 3) in [0, 1], prepared text -> condition and start token (b, c + 1, dim), image tokens
    (b, v, t, e); and, where the mean of all codes is acted on, that (b, s, dim), so that ``Think`` is not needed."""

    def __init__(self, policy: Amplify):
        super().__init__()
        self.model = policy.forward_dynamics

    def forward(self, pixels: Tensor, text: Tensor) -> tuple[Tensor, ...]:
        features = _text_features(self.model.text_encoder, text)
        tokens = self.model.vision_encoder(_resized(pixels, self.model.config.vision_encoder.image_size), features)
        start = self.model.sos_token.expand(pixels.shape[0], -1, -1)
        condition = self.model.condition(tokens, features)
        soft = self.model.config.codes == "soft"
        return (torch.cat([condition, start], 1), tokens, *([self.model.act(condition)] if soft else []))


class _Grown:
    """Keys and values of an attention layer, (b, heads, t, d), to which new ones are appended by copying."""

    def __init__(self, keys: Tensor, values: Tensor):
        self.keys, self.values = keys, values

    def append(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        self.keys, self.values = torch.cat([self.keys, key], 2), torch.cat([self.values, value], 2)
        return self.keys, self.values


class Think(nn.Module):
    """The next stretch (b, n, dim) of forward dynamics' sequence, and a cache -> the code after each of the places that
    are ``asked`` (m,) int64, as (b, m), the codes' vectors (b, m, dim), the cache with the stretch appended.

    A cache is (b, heads, t, d) keys and values of every layer in turn. All of a stretch sees what came before; of the
    stretch itself each place sees the first ``condition`` () int64 places, itself, and what is before it.
    """

    def __init__(self, policy: Amplify):
        super().__init__()
        self.model = policy.forward_dynamics

    def forward(
        self, stretch: Tensor, condition: Tensor, asked: Tensor, cache: list[Tensor]
    ) -> tuple[Tensor, Tensor, list[Tensor]]:
        trunk, grown = self.model.trunk, [_Grown(*pair) for pair in zip(cache[::2], cache[1::2], strict=True)]
        x = trunk.embed(stretch, cache[0].shape[2])
        places = torch.arange(stretch.shape[1])
        within = (places[:, None] >= places) | (places < condition)
        mask = torch.cat([within.new_ones(stretch.shape[1], cache[0].shape[2]), within], 1)
        index = self.model.unembed.likeliest(self.model.unembed(trunk.layers_on(x, mask, grown, asked)))
        codes = self.model.quantize.indices_to_codes(index)
        return index, codes, [part for layer in grown for part in (layer.keys, layer.values)]


class Act(nn.Module):
    """Pixels (b, v, h, w, 3), or image tokens where forward dynamics' are shared; prepared text where it is read;
    proprioception (b, 9); codes (b, s, dim) -> actions (b, t, 7) in [-1, 1], or what ``Refine`` attends to."""

    def __init__(self, policy: Amplify):
        super().__init__()
        self.model, self.shared = policy.inverse_dynamics, policy.share_vision_encoder

    def forward(
        self, seen: Tensor | None, text: Tensor | None, proprio: Tensor, codes: Tensor
    ) -> Tensor | list[Tensor]:
        model = self.model
        features = None if model.text_encoder is None else _text_features(model.text_encoder, given(text, "text"))
        if model.vision_encoder is None or self.shared:
            tokens = seen
        else:
            pixels = _resized(given(seen, "images"), model.config.vision_encoder.image_size)
            tokens = model.vision_encoder(pixels, features)
        condition, _ = model.condition(tokens, features, proprio, codes)
        if isinstance(model.head, SamplingHead):
            return model.head.remember(condition)
        return model.act(condition, condition.new_empty(0))  # such a head draws nothing


class Refine(nn.Module):
    """``x`` (b, t, 7), at first noise; the number of a step () int64; fresh noise (b, t, 7); what ``Act`` gave -> ``x``
    after this step, and the actions (b, t, 7) that it is."""

    def __init__(self, policy: Amplify):
        super().__init__()
        self.model = policy.inverse_dynamics

    def forward(self, x: Tensor, step: Tensor, fresh: Tensor, memory: list[Tensor]) -> tuple[Tensor, Tensor]:
        head = self.model.head
        assert isinstance(head, SamplingHead)
        x = head.step(x, step, fresh, memory)
        return x, self.model.denormalized(x)


class Follow(nn.Module):
    """Codes (b, s, dim), first points (b, v, 1, n, 2) -> where they go, (b, v, 16, n, 2)."""

    def __init__(self, policy: Amplify):
        super().__init__()
        self.model = policy.motion_tokenizer

    def forward(self, codes: Tensor, start: Tensor) -> Tensor:
        return self.model.decode_points(codes, start)
