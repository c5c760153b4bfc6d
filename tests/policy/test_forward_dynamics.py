"""Forward dynamics: decoding with a cache is the plain algorithm, drawing is repeatable, and means are seen at once."""

import pytest
import torch

from common.errors import UserError
from policy.forward_dynamics import ForwardConfig, ForwardDynamics, ar_sampling
from policy.text import TextConfig
from policy.vision import VisionConfig
from tokenizer.fsq import FSQ
from tokenizer.sampling import Sampling
from tokenizer.tracks.model import TokenizerConfig


def model_of(**options: object) -> ForwardDynamics:
    torch.manual_seed(0)
    tokenizer = TokenizerConfig(num_tracks=16, img_shape=(32, 32), hidden_dim=32, num_heads=2, codebook_size=256)
    vision = VisionConfig("small", 32, embed_dim=16, channels=(8, 8), keypoints=4, film=False)
    text = TextConfig("words", buckets=64, width=16)
    config = ForwardConfig(2, 2, 0.0, vision_encoder=vision, text_encoder=text, **options)  # type: ignore[arg-type]
    model = ForwardDynamics(config, tokenizer, FSQ(32, 256)).eval()
    for weight in (model.unembed.weight, *(w for w in model.trunk.parameters() if w.ndim > 1)):
        torch.nn.init.normal_(weight, std=0.5)  # so that much depends on the codes before, and no two are as likely
    return model


def condition_of(model: ForwardDynamics, batch: int = 4) -> torch.Tensor:
    return torch.randn(batch, 35, 32, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def plain(model: ForwardDynamics, condition: torch.Tensor) -> torch.Tensor:
    """AMPLIFY's algorithm: for each code the whole sequence again, without any cache."""
    indices = torch.zeros(len(condition), model.num_codes, dtype=torch.long)
    for i in range(model.num_codes):
        indices[:, i] = model.unembed.likeliest(model.logits(condition, indices)[:, i])
    return indices


@pytest.mark.parametrize("code_head", ["joint", "levels"])
def test_the_cache_changes_no_code(code_head: str) -> None:
    model = model_of(code_head=code_head)
    condition = condition_of(model)
    indices = model.predict(condition)
    assert torch.equal(indices, plain(model, condition))
    assert indices.unique().numel() > 10


@pytest.mark.parametrize("code_head", ["joint", "levels"])
@pytest.mark.parametrize("how", ["topk", "topp"])
def test_codes_are_drawn_by_seed_and_several_share_what_they_see(code_head: str, how: str) -> None:
    model = model_of(code_head=code_head)
    condition = condition_of(model)

    def draw(seed: int, **options: int) -> torch.Tensor:
        return model.predict(condition, how, torch.Generator().manual_seed(seed), **options)  # type: ignore[arg-type]

    assert torch.equal(draw(0), draw(0))
    assert not torch.equal(draw(0), draw(1))
    drawn = draw(0, samples=3)
    assert drawn.shape == (12, model.num_codes)
    apart = model.predict(condition.repeat_interleave(3, 0), how, torch.Generator().manual_seed(0))  # type: ignore[arg-type]
    assert torch.equal(drawn, apart)
    assert (drawn < model.quantize.num_codes).all()


def test_a_cold_draw_is_the_greedy_one_and_a_hot_one_is_not() -> None:
    model = model_of(code_head="levels")
    condition = condition_of(model)
    cold, hot = (model.predict(condition, Sampling(temperature=t, top_k=5)) for t in (1e-4, 5.0))
    assert torch.equal(cold, model.predict(condition))
    assert not torch.equal(hot, model.predict(condition))


def test_ways_to_choose_have_the_published_names() -> None:
    assert ar_sampling("argmax", 3.0).greedy
    assert ar_sampling("topp", 0.5) == Sampling(temperature=0.5, top_p=0.9)
    with pytest.raises(UserError, match="must be argmax, topk, topp"):
        ar_sampling("beam")


def test_the_mean_of_codes_is_what_it_was_trained_as_and_needs_no_code_before() -> None:
    model = model_of(code_head="levels", codes="soft")
    condition = condition_of(model)
    indices = torch.randint(model.quantize.num_codes, (4, model.num_codes))
    loss, _, vectors = model.losses(condition, indices)
    torch.testing.assert_close(model.act(condition), vectors.detach())
    _, _, after_others = model.losses(condition, indices.roll(1, 0))
    torch.testing.assert_close(vectors, after_others)
    vectors.square().sum().backward()
    assert model.unembed.weight.grad is not None
    assert model.unembed.weight.grad.abs().sum() > 0
    assert all(weight.grad is None for weight in model.quantize.parameters())
    assert loss > model.unembed.loss(model.logits(condition, indices), indices)  # it learns both


def test_discrete_codes_are_acted_on_as_chosen_but_pass_a_gradient_on() -> None:
    model = model_of()
    condition = condition_of(model)
    indices = model.predict(condition)
    _, _, vectors = model.losses(condition, indices)
    torch.testing.assert_close(vectors.detach(), model.act(condition))
    vectors.square().sum().backward()
    assert model.unembed.weight.grad is not None
    assert model.unembed.weight.grad.abs().sum() > 0
