"""The heads that sample: what decides about their actions, and that few steps lead where many do."""

from dataclasses import replace

import pytest
import torch

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
