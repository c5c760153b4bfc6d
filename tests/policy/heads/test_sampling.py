"""The heads that sample: what decides about their actions, and that few steps lead where many do."""

from dataclasses import replace

import pytest
import torch

from common.errors import UserError
from policy.heads.base import ActionHead
from policy.heads.diffusion import DiffusionHead, DiffusionHeadConfig
from policy.heads.flow import FlowHead, FlowHeadConfig

DIFFUSION = DiffusionHeadConfig(
    dim=16, condition_tokens=3, horizon=4, action_dim=7, num_layers=1, num_heads=2, dropout=0.0, levels=20
)
FLOW = FlowHeadConfig(dim=16, horizon=4, action_dim=7, num_layers=1, num_heads=2, steps=50)
CONFIGS = (DIFFUSION, replace(DIFFUSION, sampler="ddim", ddim_steps=5), FLOW, replace(FLOW, solver="euler", steps=5))


def make_head(config: DiffusionHeadConfig | FlowHeadConfig) -> ActionHead:
    torch.manual_seed(0)
    return (DiffusionHead(config) if isinstance(config, DiffusionHeadConfig) else FlowHead(config)).eval()


@pytest.fixture(scope="module")
def condition() -> torch.Tensor:
    return torch.randn(5, 3, 16, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("config", CONFIGS)
@torch.no_grad()
def test_with_a_seed_actions_depend_on_the_observation_alone(config, condition: torch.Tensor) -> None:
    head = make_head(config)
    together = head.act(condition, head.noise(5, seed=3))
    alone = head.act(condition[2:3], head.noise(1, seed=3))
    assert torch.allclose(together[2:3], alone, atol=1e-5)
    assert not torch.allclose(together[2:3], head.act(condition[2:3], head.noise(1, seed=4)), atol=1e-3)


@pytest.mark.parametrize("config", CONFIGS)
@torch.no_grad()
def test_without_a_seed_every_draw_is_another(config, condition: torch.Tensor) -> None:
    head = make_head(config)
    alike = condition[:1].expand(2, -1, -1)
    one, other = head.act(alike, head.noise(2))
    assert not torch.allclose(one, other, atol=1e-3)


@pytest.mark.parametrize("config", [DIFFUSION, FLOW])
def test_a_head_learns_the_one_action_that_there_is_and_few_steps_find_it(config, condition: torch.Tensor) -> None:
    head = make_head(config)
    condition = condition.repeat(4, 1, 1)
    actions = torch.linspace(-0.8, 0.8, 28).reshape(1, 4, 7).expand(20, -1, -1)
    optimizer = torch.optim.AdamW(head.parameters(), lr=3e-3, weight_decay=0)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, 400)
    for _ in range(400):
        loss = head.losses(condition, actions)[0].mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
    few = replace(config, sampler="ddim", ddim_steps=5) if config is DIFFUSION else replace(config, steps=4)
    short = make_head(few)
    short.load_state_dict(head.state_dict())
    with torch.no_grad():
        for sampler in (head, short):
            off = (sampler.act(condition.repeat(2, 1, 1), sampler.noise(40)) - actions[:1]).abs().mean()
            assert off < 0.2, off  # zeros are .4 off, a normal draw .9


def test_diffusion_ends_within_the_range_of_actions(condition: torch.Tensor) -> None:
    head = make_head(DIFFUSION)
    assert head.act(condition * 100, head.noise(5, seed=0)).abs().max() <= 1


@pytest.mark.parametrize("solver", ["euler", "midpoint"])
def test_a_flow_head_goes_on_with_what_is_planned_as_far_as_it_is_told_to(solver, condition: torch.Tensor) -> None:
    torch.manual_seed(0)
    head = FlowHead(replace(FLOW, solver=solver, steps=10)).eval()
    pattern = torch.linspace(0.3, 0.9, 28).reshape(1, 4, 7)
    optimizer = torch.optim.AdamW(head.parameters(), lr=3e-3, weight_decay=0)
    for _ in range(400):  # there are two ways, and nothing in the observation says which
        way = torch.randint(0, 2, (64, 1, 1)) * 2.0 - 1
        head.losses(condition[:1].expand(64, -1, -1), way * pattern)[0].mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    condition = condition[:1].expand(5, -1, -1)
    with torch.inference_mode():
        noise = head.noise(5)
        free = head.act(condition, noise)
        weights = torch.tensor([1.0, 1.0, 0.5, 0.0]).expand(5, -1).clone()
        weights[4] = 0
        for way in (1, -1):
            planned = way * pattern.expand(5, -1, -1)
            guided = head.inpaint(condition, noise, planned, weights)
            off = (guided - planned).abs().mean(-1)
            assert (off[:4, :2] < 0.15).all()
            assert off[:4, 2].mean() < (free - planned).abs().mean(-1)[:4, 2].mean()
            torch.testing.assert_close(guided[:4, 3], free[:4, 3], atol=1e-4, rtol=0)
            torch.testing.assert_close(guided[4], free[4], atol=1e-4, rtol=0)
    assert ((free - pattern).abs().mean(-1) > 0.3).any()
    assert ((free + pattern).abs().mean(-1) > 0.3).any()


def test_heads_that_cannot_go_on_with_a_plan_say_so(condition: torch.Tensor) -> None:
    head = make_head(DIFFUSION)
    with pytest.raises(UserError, match="only policies with a flow head"):
        head.inpaint(condition, head.noise(5), torch.zeros(5, 4, 7), torch.ones(5, 4))
