"""The five suites of LIBERO: their names, how many tasks each has, and its step limit."""

import gymnasium

MAX_STEPS = {
    "libero_spatial": 220,
    "libero_object": 280,
    "libero_goal": 300,
    "libero_10": 520,
    "libero_90": 400,
}
"""Step limits of the five suites, as the field evaluates them (openpi, OpenVLA-OFT)."""

SUITES = tuple(MAX_STEPS)

STANDARD = ("libero_spatial", "libero_object", "libero_goal", "libero_10")
"""The four suites that policies are compared on; their mean is the field's one number."""

TASK_COUNTS = {suite: 90 if suite == "libero_90" else 10 for suite in SUITES}
"""How many tasks each suite has."""


def register_environments() -> None:
    """Register every task with gymnasium as ``amplify/<suite>-<task>-v0``; ``import sim`` does it.

    Gymnasium finds no packages by itself since its version 1.0: its users import what registers environments.
    """
    for suite, count in TASK_COUNTS.items():
        for task in range(count):
            gymnasium.register(
                f"amplify/{suite}-{task}-v0",
                entry_point="sim.libero.env:LiberoEnv",
                kwargs={"suite": suite, "task": task},
                max_episode_steps=MAX_STEPS[suite],
            )
