"""Generating modalities from others: tokens in random order, some at each step, each step seeing those before it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from common.errors import UserError
from tokenizer.multimodal.model import MaskedModel, Places
from tokenizer.sampling import Sampling


def step_sizes(tokens: int, steps: int) -> list[int]:
    """How many of ``tokens`` each step generates: equally many, and what remains in the last.

    >>> step_sizes(16, 5)
    [3, 3, 3, 3, 4]
    """
    if not 1 <= steps <= tokens:
        raise UserError(f"{tokens} tokens cannot be generated in {steps} steps; use 1 to {tokens}")
    return [tokens // steps] * (steps - 1) + [tokens // steps + tokens % steps]


@dataclass
class Stream:
    """What the encoder sees: (b, t) ids as the embedding table has them, positions, modalities by number."""

    tokens: Tensor
    positions: Tensor
    modalities: Tensor

    def append(self, tokens: Tensor, positions: Tensor, modality: int) -> None:
        """Adds tokens (b, n) at ``positions`` (n,) of one modality."""
        positions = positions.expand_as(tokens)
        self.tokens = torch.cat([self.tokens, tokens], 1)
        self.positions = torch.cat([self.positions, positions], 1)
        self.modalities = torch.cat([self.modalities, torch.full_like(positions, modality)], 1)


@dataclass(frozen=True)
class Target:
    """One modality that is to be generated, in how many steps (all its tokens at once with 1), and how."""

    modality: str
    steps: int = 1
    sampling: Sampling = field(default_factory=Sampling)


def targets_of(text: str, sampling: Sampling) -> list[Target]:
    """Targets as a command line names them, each with its steps behind a colon, or to be generated at once.

    >>> [(target.modality, target.steps) for target in targets_of("coords, tok_rgb_next:8", Sampling())]
    [('coords', 1), ('tok_rgb_next', 8)]

    Raises:
        UserError: what is behind a colon is no number of steps.
    """
    targets = []
    for one in filter(None, map(str.strip, text.split(","))):
        name, colon, steps = one.partition(":")
        if colon and not (steps.isdecimal() and int(steps)):
            raise UserError(f"{one}: {steps!r} is no number of steps; write for example tok_rgb_next:8")
        targets.append(Target(name, int(steps) if colon else 1, sampling))
    return targets


class Generator:
    """Generates modalities one after the other, each seeing what was given and those before it.

    ``within_ids`` keeps to the ids that a modality has; otherwise any row of the table may come out, as published.

    >>> generator = Generator(model, {"tok_rgb": tokens}, seed=0)               # doctest: +SKIP
    >>> generator.generate(Target("coords", steps=39)).shape                    # doctest: +SKIP
    torch.Size([1, 39])
    """

    def __init__(self, model: MaskedModel, given: Mapping[str, Tensor], seed: int = 0, within_ids: bool = True):
        """``given``: ids (b, length) of whole modalities.

        Raises:
            UserError: nothing is given, or what is given is not of this model.
        """
        if not given:
            raise UserError(f"nothing is given to generate from; give one of {', '.join(model.config.modalities)}")
        self.model, self.within_ids = model, within_ids
        device = model.pos_emb.device
        self.random = torch.Generator(device).manual_seed(seed)
        empty = torch.zeros(len(next(iter(given.values()))), 0, dtype=torch.int64, device=device)
        self.stream = Stream(empty, empty, empty)
        for name, tokens in given.items():
            model.config.check(name, tokens.cpu().numpy())
            number = model.config.index(name)
            ids = tokens.to(device, torch.int64) + model.config.offset(number)
            self.stream.append(ids, torch.arange(ids.shape[1], device=device), number)

    @torch.no_grad()
    def generate(self, target: Target, known: Tensor | None = None) -> Tensor:
        """Ids (b, length) of one modality; it is seen by what is generated after it.

        ``known`` (b, length) are ids of it that are known, -1 at the positions that are to be generated, the same in
        all samples.

        Raises:
            UserError: the model does not have this modality, or it has fewer tokens than there are steps.
        """
        c, stream = self.model.config, self.stream
        number = c.index(target.modality)
        offset = c.offset(number)
        result = torch.full((len(stream.tokens), c.max_seq_lens[number]), -1, device=stream.tokens.device)
        if known is not None:
            result = self._given_part(target.modality, known.to(result))
        missing = (result[0] < 0).nonzero()[:, 0]
        sizes = step_sizes(len(missing), target.steps)
        order = missing[torch.randperm(len(missing), generator=self.random, device=self.random.device)]
        limits = torch.from_numpy(c.limits(number)).to(result)
        ids = torch.arange(c.vocab_size, device=result.device) - offset
        for positions in order.split(sizes):
            asked = Places(positions.expand(len(result), -1), torch.full_like(result[:, : len(positions)], number))
            given = Places(stream.positions, stream.modalities)
            logits = self.model.logits(self.model.decode(asked, self.model.encode(stream.tokens, given))).float()
            if self.within_ids:
                logits = logits.masked_fill((ids < 0) | (ids >= limits[positions][:, None]), -torch.inf)
            chosen = target.sampling(logits.flatten(0, 1), self.random)[0].view(len(result), -1)
            result[:, positions] = chosen - offset
            stream.append(chosen, positions, number)
        return result

    def _given_part(self, modality: str, known: Tensor) -> Tensor:
        """Puts what is known of a modality into the stream."""
        c = self.model.config
        number = c.index(modality)
        there = known[0] >= 0
        if known.shape[1] != c.max_seq_lens[number] or ((known >= 0) != there).any() or there.all():
            raise UserError(
                f"known tokens of {modality} must be {c.max_seq_lens[number]}, some of them -1, in the same places in "
                f"all samples, not {tuple(known.shape)}"
            )
        c.check(modality, known.clamp(min=0).cpu().numpy())
        positions = there.nonzero()[:, 0]
        self.stream.append(known[:, positions] + c.offset(number), positions, number)
        return known.clone()
