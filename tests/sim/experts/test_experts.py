"""Scripted experts, where grasping is hardest. All 40 tasks: ``python -m sim.eval --policy expert``."""

from pathlib import Path

import numpy as np
import pytest

from sim.collection.demonstrate import Disturbance, play
from sim.experts import expert_actions
from sim.libero.env import LiberoEnv


@pytest.mark.parametrize(
    ("suite", "task", "init_state"),
    [("libero_spatial", 4, 1), ("libero_spatial", 4, 4), ("libero_spatial", 9, 1)],
    ids=["a bowl that tilts on its way out of a drawer", "a bowl beside a drawer's wall", "a bowl at full stretch"],
)
def test_the_expert_succeeds_within_the_step_limit(suite: str, task: int, init_state: int, libero_assets: Path):
    env = LiberoEnv(suite, task, assets=libero_assets)
    env.restart(seed=init_state, init_state=init_state)
    env.settle()
    success = False
    for steps, action in enumerate(expert_actions(env, np.random.default_rng(init_state)), start=1):
        _, success, _, _ = env.advance(action)
        if success or steps == env.max_steps:
            break
    env.close()
    assert success


def test_a_drawer_is_opened_in_one_pull_under_noise_and_time_is_left_for_the_bowl(libero_assets: Path):
    env = LiberoEnv("libero_goal", 3, assets=libero_assets)
    takes = [play(env, seed, Disturbance()) for seed in range(9000, 9004)]
    env.close()
    assert sum(take is not None for take in takes) >= 3
