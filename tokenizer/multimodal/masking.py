"""Which tokens of a sample are given and which are to be predicted (4M, Mizrahi et al., 2023, section 2.2).

How many tokens each modality gives is drawn from a Dirichlet distribution, then the tokens are drawn. Everything
random is drawn first (``Draws``); what follows from it is a function of it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from common.errors import UserError
from tokenizer.multimodal.options import MaskedModelConfig, bounds

IGNORED = -100
"""In place of an id where there is nothing to predict."""
_SMALLEST_ALPHA = 1e-9
_TRIES = 100


@dataclass(frozen=True)
class Share:
    """How ``total`` tokens are shared among m modalities: ``fractions`` (m,) of them, rounded down; of what is left
    each row of ``extra`` (rest, m) gives one to its largest entry."""

    total: int
    fractions: np.ndarray
    extra: np.ndarray

    def budget(self) -> np.ndarray:
        """(m,) tokens of each modality, however many it has."""
        counts = np.floor(self.fractions.astype(np.float32) * np.float32(self.total)).astype(np.int64)
        rest = self.total - counts.sum()
        return counts + np.bincount(self.extra[:rest].argmax(-1), minlength=len(counts))

    @classmethod
    def draw(cls, tokens: tuple[int, int], alphas: tuple[float, ...], rng: np.random.Generator) -> "Share":
        """A share of a number between ``tokens``."""
        total = int(rng.integers(tokens[0], tokens[1] + 1))
        concentration = np.maximum(alphas, _SMALLEST_ALPHA)
        fractions = rng.dirichlet(concentration).astype(np.float32)
        rest = total - int(np.floor(fractions * np.float32(total)).sum())
        return cls(total, fractions, rng.dirichlet(concentration, rest).reshape(rest, len(alphas)))


@dataclass(frozen=True)
class Draws:
    """All that is random about the masking of one sample; ``noise`` orders the tokens of each modality."""

    inputs: Share
    targets: Share
    noise: tuple[np.ndarray, ...]

    @classmethod
    def draw(cls, c: MaskedModelConfig, rng: np.random.Generator) -> "Draws":
        """Draws that leave at least one token to give and one to predict.

        Raises:
            UserError: the configuration gives everything away, so that nothing is left to predict.
        """
        for _ in range(_TRIES):
            inputs = Share.draw(bounds(c.input_tokens_range), c.input_alphas, rng)
            targets = Share.draw(bounds(c.target_tokens_range), c.target_alphas, rng)
            drawn = cls(inputs, targets, tuple(rng.random(length) for length in c.max_seq_lens))
            if all(budget.any() for budget in drawn.budgets(c)):
                return drawn
        raise UserError(
            f"input_tokens_range {list(bounds(c.input_tokens_range))} leaves nothing to predict of "
            f"{sum(c.max_seq_lens)} tokens; lower it, or let other modalities be targets"
        )

    def budgets(self, c: MaskedModelConfig) -> tuple[np.ndarray, np.ndarray]:
        """(m,) tokens of each modality that are given, and that are to be predicted; what a modality does not have is
        not taken from others instead."""
        lengths = np.array(c.max_seq_lens)
        given = np.minimum(self.inputs.budget(), lengths)
        return given, np.minimum(self.targets.budget(), lengths - given)


def masked(sample: Mapping[str, np.ndarray], draws: Draws, c: MaskedModelConfig) -> dict[str, np.ndarray]:
    """Tokens (length,) of each modality -> what the model is given (``enc_``) and asked for (``dec_``).

    Of both ``tokens``, ``positions`` within the modality, ``modalities`` by number, and ``pad_mask``, True where there
    is something; padded to the most that may be given, or asked for.
    """
    given, asked = draws.budgets(c)
    parts: dict[str, list[tuple[np.ndarray, ...]]] = {"enc": [], "dec": []}
    for number, modality in enumerate(c.modalities):
        order = np.argsort(draws.noise[number], kind="stable")
        first, last = given[number], given[number] + asked[number]
        for name, chosen in (("enc", order[:first]), ("dec", order[first:last])):
            positions = np.sort(chosen)
            tokens = np.asarray(sample[modality])[positions].astype(np.int64) + c.offset(number)
            parts[name].append((tokens, positions, np.full_like(positions, number)))
    found: dict[str, np.ndarray] = {}
    for name, tokens_range in (("enc", c.input_tokens_range), ("dec", c.target_tokens_range)):
        length = bounds(tokens_range)[1]
        columns = [np.concatenate(column) for column in zip(*parts[name], strict=True)]
        padding = length - len(columns[0])
        fill = (0 if name == "enc" else IGNORED, 0, 0)
        for key, column, value in zip(("tokens", "positions", "modalities"), columns, fill, strict=True):
            found[f"{name}_{key}"] = np.pad(column, (0, padding), constant_values=value)
        found[f"{name}_pad_mask"] = np.arange(length) < length - padding
    return found


def fixed_batch(
    samples: Mapping[str, np.ndarray], c: MaskedModelConfig, seed: int, rows: np.ndarray
) -> dict[str, Tensor]:
    """The same of samples to measure on: what is masked of each depends on ``seed`` and its row alone."""
    return masked_batch(samples, c, [np.random.default_rng([seed, int(row)]) for row in rows])


def masked_batch(
    samples: Mapping[str, np.ndarray], c: MaskedModelConfig, rngs: list[np.random.Generator]
) -> dict[str, Tensor]:
    """Tokens (b, length) of each modality, and where each sample's draws come from -> tensors (b, ...)."""
    rows = [
        masked({name: tokens[row] for name, tokens in samples.items()}, Draws.draw(c, rng), c)
        for row, rng in enumerate(rngs)
    ]
    return {key: torch.from_numpy(np.stack([row[key] for row in rows])) for key in rows[0]}
