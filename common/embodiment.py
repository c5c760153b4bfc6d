"""What the numbers of a state and of an action are, in words that a robot and a policy can compare.

A ``Group`` is a stretch of the vector with one meaning. A robot and a policy that both have seven numbers need not mean
the same by them; so each says what it means, and ``disagreements`` names what differs before anything moves.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from common.conventions import CONTROL_FREQUENCY, VIEWS
from common.errors import UserError

STATE_UNITS = {"joints": "rad", "pose": "m, rad", "fingers": "m"}
"""Kinds of state: joint positions; the end effector's position (3) and axis-angle (3), base frame; finger positions."""
ARM_UNITS = {
    "osc_delta": "1",
    "pose_delta": "m, rad",
    "pose_target": "m, rad",
    "joint_delta": "rad",
    "joint_target": "rad",
}
"""Kinds of an arm's action.

osc_delta: six numbers in [-1, 1] for LIBERO's controller, which covers a part of each. pose_delta: the end effector's
step, translation and axis-angle, base frame. pose_target: where it is to be. joint_delta, joint_target: the same for
joints. Deltas begin at the last command.
"""
GRIPPER_KINDS = ("gripper_sign", "gripper_opening", "gripper_closing")
"""Kinds of a gripper's action.

gripper_sign: below 0 opens, above 0 closes, 0 leaves it (LIBERO). gripper_opening: 0 closed to 1 open.
gripper_closing: 0 open to 1 closed.
"""
UNITS = {**STATE_UNITS, **ARM_UNITS, **dict.fromkeys(GRIPPER_KINDS, "1")}


@dataclass(frozen=True)
class Group:
    """``width`` numbers of one ``kind``; ``name`` is ``joints``, or ``left.joints`` where there are several arms."""

    name: str
    kind: str
    width: int
    unit: str

    @classmethod
    def of(cls, name: str, kind: str, width: int) -> "Group":
        """In the unit of its kind."""
        return cls(name, kind, width, UNITS[kind])

    def __str__(self) -> str:
        return f"{self.name} ({self.width} numbers, {self.kind}, {self.unit})"


@dataclass(frozen=True)
class Embodiment:
    """What a robot offers and takes, or what a policy sees and gives.

    ``rate`` (Hz) is how many actions there are a second. ``cameras`` are names with (height, width); None: any.
    """

    state: tuple[Group, ...]
    action: tuple[Group, ...]
    rate: float = float(CONTROL_FREQUENCY)
    cameras: Mapping[str, tuple[int, int] | None] = field(default_factory=dict)

    @property
    def state_width(self) -> int:
        """How many numbers a state has."""
        return sum(group.width for group in self.state)

    @property
    def action_width(self) -> int:
        """How many numbers an action has."""
        return sum(group.width for group in self.action)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as ``describe`` sends it."""
        return {
            "rate": self.rate,
            "cameras": {name: None if size is None else list(size) for name, size in self.cameras.items()},
            "state": [dict(vars(group)) for group in self.state],
            "action": [dict(vars(group)) for group in self.action],
        }

    @classmethod
    def from_dict(cls, data: Any) -> "Embodiment":
        """Of what ``to_dict`` has made.

        Raises:
            UserError: it is something else; the text says what is wrong with it.
        """
        try:
            groups = {
                part: tuple(
                    Group(str(entry["name"]), str(entry["kind"]), int(entry["width"]), str(entry["unit"]))
                    for entry in data[part]
                )
                for part in ("state", "action")
            }
            cameras = {
                str(name): None if size is None else (int(size[0]), int(size[1]))
                for name, size in data.get("cameras", {}).items()
            }
            return cls(groups["state"], groups["action"], float(data.get("rate", CONTROL_FREQUENCY)), cameras)
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
            raise UserError(f"an embodiment has state and action, lists of groups: {error!r} (docs/wire.md)") from None


LIBERO = Embodiment(
    state=(Group.of("joints", "joints", 7), Group.of("fingers", "fingers", 2)),
    action=(Group.of("arm", "osc_delta", 6), Group.of("gripper", "gripper_sign", 1)),
    cameras=dict.fromkeys(VIEWS),
)
"""Of the arm in LIBERO and of policies that are trained there."""


def disagreements(robot: Embodiment, policy: Embodiment) -> list[str]:
    """What stands between a policy and a robot, a sentence each; empty when the policy may drive it."""
    found = []
    offered = {group.name: group for group in robot.state}
    for group in policy.state:
        here = offered.get(group.name)
        if here is None:
            names = ", ".join(offered)
            found.append(f"the policy wants the state {group}; the robot has {names}")
        elif here != group:
            found.append(f"the policy wants the state {group}; the robot's is {here}")
    for number in range(max(len(robot.action), len(policy.action))):
        takes = robot.action[number] if number < len(robot.action) else None
        gives = policy.action[number] if number < len(policy.action) else None
        if takes == gives:
            continue
        if takes is None or gives is None:
            text = f"the policy's action has {gives}, which the robot lacks" if gives else f"it has nothing for {takes}"
            found.append(text)
        else:
            found.append(f"the policy's action is {gives}; robot.yaml takes {takes}{_mend(takes, gives)}")
    return found


def _mend(takes: Group, gives: Group) -> str:
    if takes.kind == gives.kind:
        return ""
    if takes.kind in ARM_UNITS and gives.kind in ARM_UNITS:
        return f": write mode: {gives.kind} in robot.yaml, or serve a policy of {takes.kind}"
    if takes.kind in GRIPPER_KINDS and gives.kind in GRIPPER_KINDS:
        return f": write action: {gives.kind.removeprefix('gripper_')} under gripper in robot.yaml"
    return ""
