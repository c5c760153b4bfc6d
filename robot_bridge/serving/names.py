"""What other set-ups call the policy's cameras, state, instruction and action: ``serve --rename OURS=THEIRS``."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from common.errors import UserError

STATE, TASK, ACTION = "proprio", "task", "action"


@dataclass(frozen=True)
class Names:
    """The clients' names: a camera for a view, the parts that make up the state, the instruction, the action's parts.

    >>> names = Names.read(["agentview=front", "proprio=arm+gripper", "action=arm:6+gripper:1"], ("agentview",))
    >>> names.cameras, names.state, names.action
    ({'agentview': 'front'}, ('arm', 'gripper'), (('arm', 6), ('gripper', 1)))
    """

    cameras: Mapping[str, str] = field(default_factory=dict)
    state: tuple[str, ...] = (STATE,)
    task: str = TASK
    action: tuple[tuple[str, int | None], ...] = ((ACTION, None),)

    @classmethod
    def read(cls, renames: Iterable[str], views: tuple[str, ...]) -> "Names":
        """From ``OURS=THEIRS`` texts; ``UserError`` for what the policy does not have."""
        cameras: dict[str, str] = {}
        parts: dict[str, list[str]] = {}
        for rename in renames:
            ours, _, theirs = rename.partition("=")
            names = theirs.split("+")
            if not all(names):
                raise UserError(f"--rename {rename}: write OURS=THEIRS, such as {views[0]}=front")
            if ours in views and len(names) == 1:
                cameras[ours] = theirs
            elif ours in (STATE, ACTION) or (ours == TASK and len(names) == 1):
                parts[ours] = names
            else:
                have = ", ".join((*views, STATE, TASK, ACTION))
                raise UserError(f"--rename {rename}: the policy has {have}; only {STATE} and {ACTION} may have parts")
        action = tuple(_part(part) for part in parts.get(ACTION, [ACTION]))
        if len(action) > 1 and any(width is None for _, width in action):
            raise UserError(f"--rename {ACTION}=...: give every part its width, such as {ACTION}=arm:6+gripper:1")
        return cls(cameras, tuple(parts.get(STATE, [STATE])), parts.get(TASK, [TASK])[0], action)

    def camera(self, view: str) -> str:
        """What clients call ``view``."""
        return self.cameras.get(view, view)

    def split(self, actions: np.ndarray) -> dict[str, np.ndarray]:
        """``actions`` (..., d) in the clients' parts; ``ValueError`` when the widths are not d together."""
        if len(self.action) == 1:
            return {self.action[0][0]: actions}
        widths = [width or 0 for _, width in self.action]
        if sum(widths) != actions.shape[-1]:
            raise ValueError(
                f"the policy's actions have {actions.shape[-1]} numbers, --rename action names {sum(widths)}"
            )
        parts = np.split(actions, np.cumsum(widths)[:-1], axis=-1)
        return {name: part for (name, _), part in zip(self.action, parts, strict=True)}


def _part(text: str) -> tuple[str, int | None]:
    name, _, width = text.partition(":")
    if not width:
        return name, None
    if not width.isdigit() or not int(width) or not name:
        raise UserError(f"--rename {ACTION}=...: a part is NAME:WIDTH, not {text}")
    return name, int(width)
