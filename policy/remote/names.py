"""What other set-ups call the policy's cameras, state, instruction and action: ``OURS=THEIRS`` texts."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from common.errors import UserError

STATE, TASK, ACTION = "proprio", "task", "action"

Parts = tuple[tuple[str, int | None], ...]
"""Names with their widths; None: all there is, or not known here."""


@dataclass(frozen=True)
class Names:
    """Their names: a camera for a view, the parts that make up the state, the instruction, the action's parts.

    >>> names = Names.read(["agentview=front", "proprio=arm:7+gripper:2", "action=arm:6+gripper:1"], ("agentview",))
    >>> names.cameras, names.state, names.action
    ({'agentview': 'front'}, (('arm', 7), ('gripper', 2)), (('arm', 6), ('gripper', 1)))
    """

    cameras: Mapping[str, str] = field(default_factory=dict)
    state: Parts = ((STATE, None),)
    task: str = TASK
    action: Parts = ((ACTION, None),)

    @classmethod
    def read(cls, renames: Iterable[str], views: tuple[str, ...], default: "Names | None" = None) -> "Names":
        """From ``OURS=THEIRS`` texts, and ``default`` for the rest; ``UserError`` for what the policy does not have."""
        default = default or cls()
        cameras = dict(default.cameras)
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
        state = tuple(_part(STATE, part) for part in parts[STATE]) if STATE in parts else default.state
        action = tuple(_part(ACTION, part) for part in parts[ACTION]) if ACTION in parts else default.action
        if ACTION in parts and len(action) > 1 and any(width is None for _, width in action):
            raise UserError(f"--rename {ACTION}=...: give every part its width, such as {ACTION}=arm:6+gripper:1")
        return cls(cameras, state, parts.get(TASK, [default.task])[0], action)

    @property
    def state_names(self) -> list[str]:
        """The names of the state's parts."""
        return [name for name, _ in self.state]

    def camera(self, view: str) -> str:
        """What they call ``view``."""
        return self.cameras.get(view, view)

    def split(self, actions: np.ndarray) -> dict[str, np.ndarray]:
        """``actions`` (..., d) in their parts; ``ValueError`` when the widths are not d together."""
        return _split(self.action, ACTION, actions)

    def split_state(self, proprio: np.ndarray) -> dict[str, np.ndarray]:
        """``proprio`` (..., 9) in their parts; ``ValueError`` when the widths are not 9 together."""
        return _split(self.state, STATE, proprio)


def _split(parts: Parts, ours: str, values: np.ndarray) -> dict[str, np.ndarray]:
    if len(parts) == 1:
        return {parts[0][0]: values}
    widths = [width or 0 for _, width in parts]
    if sum(widths) != values.shape[-1]:
        raise ValueError(f"the policy's {ours} has {values.shape[-1]} numbers, the renamed parts {sum(widths)}")
    pieces = np.split(values, np.cumsum(widths)[:-1], axis=-1)
    return {name: piece for (name, _), piece in zip(parts, pieces, strict=True)}


def _part(ours: str, text: str) -> tuple[str, int | None]:
    name, _, width = text.partition(":")
    if not width:
        return name, None
    if not width.isdigit() or not int(width) or not name:
        raise UserError(f"--rename {ours}=...: a part is NAME:WIDTH, not {text}")
    return name, int(width)
