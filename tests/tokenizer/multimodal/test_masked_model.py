"""The masked model's promises: what is refused, what padding does, and what masking gives and asks for."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from common.errors import UserError
from tokenizer.multimodal.generation import Generator, Target
from tokenizer.multimodal.masking import masked_batch
from tokenizer.multimodal.model import MaskedModel, loss_of
from tokenizer.multimodal.options import MaskedModelConfig
from tokenizer.sampling import Sampling

TINY = MaskedModelConfig(
    modalities=("tok_rgb", "coords"),
    vocab_sizes=(32, 32),
    ids=(20, 30),
    flags=(0, 3),
    max_seq_lens=(16, 9),
    input_alphas=(1, 1),
    target_alphas=(1, 1),
    input_tokens_range=(2, 12),
    target_tokens_range=(2, 8),
    dim=16,
    enc_depth=1,
    dec_depth=1,
    head_dim=8,
)


def samples(count: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    limits = [TINY.limits(number) for number in range(2)]
    return {name: rng.integers(0, limits[i], (count, len(limits[i]))) for i, name in enumerate(TINY.modalities)}


def rngs(count: int) -> list[np.random.Generator]:
    return [np.random.default_rng([1, row]) for row in range(count)]


def trained_a_little(c: MaskedModelConfig = TINY) -> MaskedModel:
    torch.manual_seed(0)
    model = MaskedModel(c)
    torch.nn.init.normal_(model.to_logits.weight)  # which begins at zero
    return model.eval()


def test_every_sample_gives_and_asks_for_something_and_never_the_same() -> None:
    batch = masked_batch(samples(64), TINY, rngs(64))
    for row in range(64):
        sets = []
        for kind in ("enc", "dec"):
            there = batch[f"{kind}_pad_mask"][row]
            where = zip(batch[f"{kind}_modalities"][row][there], batch[f"{kind}_positions"][row][there], strict=True)
            sets.append({(int(m), int(p)) for m, p in where})
            assert sets[-1]
        assert not sets[0] & sets[1]
    again = masked_batch(samples(64), TINY, rngs(64))
    assert all(torch.equal(batch[key], again[key]) for key in batch)


def test_a_modality_with_alpha_zero_is_shut_out() -> None:
    c = replace(TINY, input_alphas=(1, 0), target_alphas=(0, 1))
    batch = masked_batch(samples(64), c, rngs(64))
    assert set(batch["enc_modalities"][batch["enc_pad_mask"]].tolist()) == {0}
    assert set(batch["dec_modalities"][batch["dec_pad_mask"]].tolist()) == {1}


def test_masking_that_leaves_nothing_to_predict_is_refused() -> None:
    with pytest.raises(UserError, match="leaves nothing to predict of 25 tokens"):
        masked_batch(samples(1), replace(TINY, input_tokens_range=(10**6, 10**6)), rngs(1))


def test_the_first_loss_is_that_of_guessing() -> None:
    loss = loss_of(MaskedModel(TINY), masked_batch(samples(8), TINY, rngs(8))).loss
    assert loss.item() == pytest.approx(np.log(32), rel=1e-5)


def test_padding_changes_nothing_and_nothing_given_is_no_error() -> None:
    model, batch = trained_a_little(), masked_batch(samples(4), TINY, rngs(4))
    loss = loss_of(model, batch).loss
    longer = dict(batch)
    for name in ("tokens", "positions", "modalities", "pad_mask"):
        longer[f"enc_{name}"] = torch.nn.functional.pad(batch[f"enc_{name}"], (0, 5))
    assert torch.allclose(loss_of(model, longer).loss, loss, atol=1e-6)
    longer["enc_pad_mask"] = torch.zeros_like(longer["enc_pad_mask"])
    assert loss_of(model, longer).loss.isfinite()


@pytest.mark.parametrize(
    ("setting", "value", "message"),
    [
        ("ids", (20, 40), "coords has 40 ids, its vocab_sizes entry is only 32"),
        ("flags", (0, 10), "flags of coords is 10; it must be between 0 and 9"),
        ("max_seq_lens", (16,), "max_seq_lens has 1 entries, there are 2 modalities"),
        ("input_alphas", (0, 0), "none may be negative, one must not be 0"),
        ("head_dim", 5, "must be a multiple of head_dim 5"),
        ("target_tokens_range", (9, 3), "it must be least and most"),
        ("modalities", ("coords", "coords"), "names one twice"),
    ],
)
def test_options_that_make_no_sense_are_refused(setting: str, value: object, message: str) -> None:
    with pytest.raises(UserError, match=message):
        replace(TINY, **{setting: value})  # type: ignore[arg-type]


def test_ids_beyond_the_vocabulary_are_refused_by_place() -> None:
    tokens = samples(1)["coords"][0]
    tokens[7] = 2
    with pytest.raises(UserError, match=r"a\.npy: coords has 2 at position 7, where ids are 0 to 1"):
        TINY.check("coords", tokens, "a.npy")
    with pytest.raises(UserError, match="coords has -1 at position 0"):
        TINY.check("coords", np.full(9, -1))
    with pytest.raises(UserError, match="8 tokens of coords, this model takes 9"):
        TINY.check("coords", tokens[:8])
    with pytest.raises(UserError, match="no modality 'sound'; this model has tok_rgb, coords"):
        TINY.check("sound", tokens)


@pytest.mark.parametrize("overlap", [True, False])
def test_what_is_generated_are_ids_of_the_modality_and_depend_on_the_seed(overlap: bool) -> None:
    c = replace(TINY, overlap_vocab=overlap)
    model = trained_a_little(c)
    given = {"tok_rgb": torch.from_numpy(samples(3)["tok_rgb"])}
    target = Target("coords", 4, Sampling(1.0))
    found = [Generator(model, given, seed).generate(target) for seed in (0, 0, 1)]
    c.check("coords", found[0].numpy())
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


def test_what_is_known_of_a_modality_is_kept() -> None:
    model, tokens = trained_a_little(), samples(2)
    known = torch.from_numpy(tokens["coords"]).clone()
    known[:, 3:] = -1
    generator = Generator(model, {"tok_rgb": torch.from_numpy(tokens["tok_rgb"])})
    found = generator.generate(Target("coords", 6), known)
    assert torch.equal(found[:, :3], known[:, :3])
    TINY.check("coords", found.numpy())
    assert generator.stream.tokens.shape == (2, 16 + 9)  # none twice


def test_generation_that_cannot_be_is_refused() -> None:
    model, given = trained_a_little(), {"tok_rgb": torch.from_numpy(samples(1)["tok_rgb"])}
    with pytest.raises(UserError, match="9 tokens cannot be generated in 10 steps"):
        Generator(model, given).generate(Target("coords", 10))
    with pytest.raises(UserError, match="nothing is given"):
        Generator(model, {})
