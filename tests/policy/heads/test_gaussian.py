"""The Gaussian head's gripper: a number like the others, or the choice between opening and closing."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from policy.heads.gaussian import GaussianHead, GaussianHeadConfig

REGRESSION = GaussianHeadConfig(
    dim=8, horizon=4, action_dim=7, num_layers=1, num_heads=2, dropout=0.0, std=0.1, squash=True, squash_scale=1.0,
    discount=1.0,
)  # fmt: skip
CLASSIFICATION = replace(REGRESSION, gripper="classification")


def make_head(config: GaussianHeadConfig) -> GaussianHead:
    torch.manual_seed(0)
    return GaussianHead(config).eval()


def test_a_classified_gripper_changes_nothing_about_the_arm() -> None:
    regression, classification = make_head(REGRESSION), make_head(CLASSIFICATION)
    classification.load_state_dict(regression.state_dict())
    condition, actions = torch.randn(2, 5, 8), torch.rand(2, 4, 7) * 2 - 1
    ours, theirs = (head.losses(condition, actions) for head in (classification, regression))
    for a, b in zip(ours, theirs, strict=True):
        assert torch.equal(a[..., :-1], b[..., :-1])
        assert not torch.allclose(a[..., -1], b[..., -1])


def test_a_classified_gripper_costs_the_cross_entropy_of_its_command() -> None:
    head = make_head(replace(CLASSIFICATION, gripper_weight=3.0))
    condition = torch.randn(1, 5, 8)
    close = (head.act(condition)[..., -1] + 1) / 2  # P(close)
    actions = torch.zeros(1, 4, 7)
    actions[0, :, -1] = torch.tensor([1.0, -1.0, 0.0, 1.0])  # the third is undecided
    chosen = torch.stack([close[0, 0], 1 - close[0, 1], (close * (1 - close))[0, 2].sqrt(), close[0, 3]])
    losses, _ = head.losses(condition, actions)
    torch.testing.assert_close(losses[0, :, -1], -3 * chosen.log())


def test_a_classified_gripper_is_drawn_as_a_command() -> None:
    head = make_head(CLASSIFICATION)
    condition = torch.randn(64, 5, 8)
    for log_odds, command in ((20.0, {1.0}), (-20.0, {-1.0}), (0.0, {-1.0, 1.0})):
        torch.nn.init.constant_(head.action_proj.bias[-1:], log_odds)
        assert head.act(condition)[..., -1].mean().item() == pytest.approx(np.sign(log_odds), abs=0.5)
        drawn = head.sample(condition)
        assert set(drawn[..., -1].flatten().tolist()) == command
        assert drawn[..., :-1].abs().max() < 1
