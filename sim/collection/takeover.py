"""Takeovers: a policy plays the beginning of an episode, and the expert goes on from wherever that has led.

Demonstrations from where a policy gets to by itself show it the way back (DAgger, Ross et al. 2011).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from common.conventions import CONTROL_FREQUENCY
from common.errors import UserError
from policy.remote import ADDRESSES
from sim.evaluation.chunk_execution import ChunkExecution, Execution
from sim.evaluation.open_policy import open_policy

if TYPE_CHECKING:
    from policy import Policy
    from sim.libero.env import LiberoEnv

EARLIEST = CONTROL_FREQUENCY
"""The first step at which the expert may take over."""
LATEST = 0.8
"""The last one, as a part of the suite's step limit."""


@dataclass(frozen=True)
class Takeover:
    """Whom the expert takes over from.

    Args:
        policy: a bundle or exported folder, or the address of a policy server.
        replan: actions that are executed of each chunk.
        device: of torch; as ``open_policy`` chooses if absent.
    """

    policy: str
    replan: int = 8
    device: str | None = None


@cache
def opened(takeover: Takeover) -> "Policy":
    """The policy, opened once a process and computed by one thread: workers are parallel among themselves.

    Raises:
        UserError: it cannot be opened, or its chunks are shorter than ``replan``.
    """
    if takeover.policy.startswith(ADDRESSES):
        policy = open_policy(takeover.policy, device=takeover.device)
    else:
        policy = open_policy("bundle", Path(takeover.policy), device=takeover.device, threads=1)
    if takeover.replan > policy.action_horizon:
        raise UserError(f"--replan {takeover.replan} is more than the {policy.action_horizon} actions of a chunk")
    return policy


def hand_over(
    env: "LiberoEnv", policy: "Policy", replan: int, begin: Callable[[], None], rng: np.random.Generator
) -> list[np.ndarray]:
    """Let the policy play for a random time; returns its actions, ``(7,)`` each, after the last of which ``env`` is.

    Where it succeeds before, the expert takes over at an earlier step of the same episode.

    Args:
        begin: puts ``env`` back to the beginning of the episode, where it is now.
        rng: draws the step.
    """
    step = int(rng.integers(EARLIEST, int(LATEST * env.max_steps) + 1))
    played: list[np.ndarray] = []
    for action in islice(_actions(env, policy, replan), step):
        played.append(action)
        if env.advance(action)[1]:
            earlier = int(rng.integers(min(EARLIEST, len(played) - 1), len(played)))
            begin()
            for again in played[:earlier]:
                env.advance(again)
            return played[:earlier]
    return played


def _actions(env: "LiberoEnv", policy: "Policy", replan: int) -> Iterator[np.ndarray]:
    """What the policy does, step by step, as an evaluation would let it; the caller advances ``env`` after each."""
    fast, size = bool(policy.describe().get("fast_render", False)), max(policy.image_size)
    chunks = ChunkExecution(Execution(replan=replan))
    while True:
        if chunks.due:
            images = np.stack([env.render_view(view, (size, size), fast) for view in policy.views])
            chunks.put(policy.act(images[None], env.proprioception()[None], [env.task.language])[0])
        yield chunks.next()
