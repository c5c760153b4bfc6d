"""Episodes in which the policy is told another task's instruction."""

from pathlib import Path

import numpy as np

from sim.evaluation.chunk_execution import Execution
from sim.evaluation.instruction_switch import InstructionSwitch
from sim.evaluation.worker import Job, Observation, Rules, play
from sim.libero import benchmark
from sim.libero.env import LiberoEnv

OPEN, CLOSED = np.array([0] * 7 + [0.04, -0.04]), np.array([0] * 7 + [0.01, -0.01])


def test_a_full_hand_puts_the_switch_off() -> None:
    switch = InstructionSwitch(40, 3)
    assert not switch.due(39, OPEN)
    assert not switch.due(40, CLOSED)
    assert switch.due(41, OPEN)


def test_all_tasks_of_libero_goal_have_one_scene() -> None:
    InstructionSwitch(40, 3).check("libero_goal", list(range(10)))


def test_the_policy_hears_its_own_instruction_first_and_plays_where_the_other_is_the_goal(libero_assets: Path) -> None:
    env = LiberoEnv("libero_goal", 7, assets=libero_assets, image_size=16)
    heard: list[tuple[int, str]] = []

    def hold_still(observation: Observation) -> np.ndarray:
        heard.append((observation.step, observation.text))
        return np.tile([0.0, 0, 0, 0, 0, 0, -1], (4, 1))

    rules = Rules(
        execution=Execution(replan=4), max_steps=8, settle_steps=2, image_size=16, switch=InstructionSwitch(6, 7)
    )
    result = play(env, Job("libero_goal", 2, 0, seed=0), rules, hold_still)
    env.close()
    first, then = (benchmark.task("libero_goal", index).language for index in (2, 7))
    assert heard == [(0, first), (4, first), (8, then), (12, then)]
    assert (result.task, result.steps) == (2, 14)
