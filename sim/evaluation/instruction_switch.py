"""A change of mind in mid-episode: the policy is told another task's instruction, and that task is then the goal."""

import argparse
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from common.errors import UserError
from sim.libero import benchmark

FREE_WIDTH = 0.07
"""Between the fingers (m) of a hand that holds nothing; open they are .08 apart."""


@dataclass(frozen=True)
class InstructionSwitch:
    """From counted step ``step`` on, as soon as the hand is free, the policy hears the instruction of ``task``.

    The episode is played in the environment of ``task``, from one of its initial states, so that its goal decides:
    the scene must be the same for both tasks.
    """

    step: int
    task: int

    @classmethod
    def parse(cls, text: str) -> "InstructionSwitch":
        """``STEP:TASK``, a type of argparse.

        >>> InstructionSwitch.parse("40:3")
        InstructionSwitch(step=40, task=3)
        """
        step, _, task = text.partition(":")
        if not (step.isdecimal() and task.isdecimal()):
            raise argparse.ArgumentTypeError(f"{text!r} is not STEP:TASK, for example 40:3")
        return cls(int(step), int(task))

    def __str__(self) -> str:
        return f"{self.step}:{self.task}"

    def check(self, suite: str, tasks: list[int]) -> None:
        """Refuse tasks whose scene is another than that of the task that is switched to.

        Raises:
            UserError: there is one, or the task that is switched to does not exist.
        """
        goal = benchmark.task(suite, self.task)
        for index in tasks:
            if _scene(benchmark.task(suite, index).bddl_file) != _scene(goal.bddl_file):
                raise UserError(
                    f"tasks {index} and {self.task} of {suite} have different scenes, so nobody can change from one to "
                    "the other; all tasks of libero_goal have the same one"
                )

    def due(self, steps: int, proprio: np.ndarray) -> bool:
        """Whether it is time, after ``steps`` counted steps and with this proprioception (9,)."""
        return steps >= self.step and bool(proprio[7] - proprio[8] > FREE_WIDTH)


@cache
def _scene(bddl_file: Path) -> tuple[str, str]:
    """What stands and lies in a task's scene."""
    from bddl.parsing import scan_tokens

    parts = {part[0]: str(part[1:]) for part in scan_tokens(filename=str(bddl_file)) if isinstance(part, list)}
    return parts[":fixtures"], parts[":objects"]
