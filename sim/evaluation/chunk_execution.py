"""One episode's way of executing action chunks: when the policy is asked, how late its answer is, what is done by then.

The chunks are joined by the same code as on a robot (``policy.chunks``).
"""

import math
from dataclasses import dataclass

import numpy as np

from common.conventions import ACTION_DIM, CONTROL_FREQUENCY
from policy.chunks import JOINERS
from policy.interface import Plan


@dataclass(frozen=True)
class Execution:
    """How every episode of a run executes chunks.

    Args:
        join: how one goes over into the next, a key of ``policy.chunks.JOINERS``; ``switch`` is open loop.
        replan: steps after which the next is asked for.
        latency: milliseconds of (simulated) inference, in which the chunk before goes on.
    """

    join: str = "switch"
    replan: int = 8
    latency: float = 0.0

    @property
    def delay(self) -> int:
        """Steps from asking for a chunk to its first use."""
        return math.ceil(self.latency * CONTROL_FREQUENCY / 1000)

    def __str__(self) -> str:
        if (self.join, self.replan) == ("ensemble", 1):
            return "temporal ensembling"
        name = {"switch": "open loop", "realtime": "real-time chunking"}.get(self.join, self.join)
        return f"{name}, {self.replan} steps"


class ChunkExecution:
    """Two questions, every step: must the policy be asked now (``due``), what is the action (``next``).

    As on a robot, the policy is asked again before its last answer has come. Where no chunk reaches so far, as before
    the first one that comes late, the arm waits with its fingers as they are told last, open at first.
    """

    def __init__(self, execution: Execution) -> None:
        self._execution = execution
        self._joiner = JOINERS[execution.join]()
        self._step = 0
        self._asked: int | None = None
        self._under_way: list[tuple[int, np.ndarray]] = []
        self._gripper = -1.0
        self.jump: np.ndarray | None = None
        """What the chunk that was joined in at the last step changed of its action, (6,); None where none was."""

    @property
    def due(self) -> bool:
        """Whether a chunk predicted from the present observation has to be ``put`` before ``next``."""
        if self._asked is None or self._step - self._asked >= self._execution.replan:
            return True
        return not self._under_way and not self._joiner.left(self._step)

    @property
    def plan(self) -> Plan | None:
        """What the chunk that is due is to go on with, if a policy can (see ``Joiner.plan``)."""
        return self._joiner.plan(self._step, self._execution.delay)

    def put(self, chunk: np.ndarray) -> None:
        """Take a chunk ``(horizon, 7)`` whose first action was for this step."""
        self._asked = self._step
        self._under_way.append((self._step, chunk))

    def next(self) -> np.ndarray:
        """The action ``(7,)`` of this step; moves on to the next step."""
        while self._under_way and self._under_way[0][0] + self._execution.delay <= self._step:
            asked, chunk = self._under_way.pop(0)
            self._joiner.add(chunk, asked)
        planned = self._joiner.at(self._step)
        self._step += 1
        self.jump = None if planned is None or planned.change is None else planned.change[:-1]
        if planned is None:
            return np.array([0.0] * (ACTION_DIM - 1) + [self._gripper], np.float32)
        self._gripper = float(planned.action[-1])
        return planned.action
