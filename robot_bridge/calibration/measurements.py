"""What has been measured so far, kept in a file after every step, so that an interrupted calibration goes on."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

import numpy as np

from common.errors import UserError
from common.files import replacing
from common.joint_map import JointMap
from robot_bridge.config import Box


def box_step(arm: str) -> str:
    """Name of the step in which an arm's box is measured."""
    return f"workspace of {arm}"


class Unclear(Exception):
    """What was done with the arm does not tell what is to be measured; the text says why, and what to do instead."""


@dataclass(frozen=True)
class RealJoint:
    """Where a joint of the simulator stands in the robot's state; ``sign`` is -1 where it counts the other way."""

    index: int
    """From 0; -1: the robot does not have it."""
    sign: int = 1


@dataclass(frozen=True)
class Measurements:
    """Of a robot whose states have ``real_dof`` joints; ``joints`` by their name in the model, ``boxes`` by arm.

    ``pose`` (real_dof,), robot's unit, is what it said in the known pose, None as long as the given offsets count.
    ``openings`` are what it says of a finger, by ``ARM.open`` and ``ARM.closed``. ``done`` says of every step, by its
    name, what came out, in words.
    """

    real_dof: int
    joints: Mapping[str, RealJoint] = field(default_factory=dict)
    pose: tuple[float, ...] | None = None
    boxes: Mapping[str, Box] = field(default_factory=dict)
    openings: Mapping[str, float] = field(default_factory=dict)
    done: Mapping[str, str] = field(default_factory=dict)

    def having(self, step: str, outcome: str, **changes: object) -> Self:
        """After a step. Another joint map makes the boxes void, which it was used to measure."""
        done = {**self.done, step: outcome}
        after = replace(self, **changes)  # type: ignore[arg-type]
        if (after.joints, after.pose) != (self.joints, self.pose):
            void = {box_step(arm) for arm in self.boxes}
            done = {name: text for name, text in done.items() if name not in void}
            after = replace(after, boxes={})
        return replace(after, done=done)

    def joint_map(self, given: JointMap, names: tuple[str, ...], known: np.ndarray) -> JointMap:
        """The map of all joints (n,), in the order of ``names``; ``known`` (n,) rad is the known pose.

        A joint that was not measured is as ``given`` has it; so are all offsets before the pose was measured.
        """
        both = zip(given.index.tolist(), given.sign.tolist(), strict=True)
        as_given = (RealJoint(int(index), int(sign)) for index, sign in both)
        joints = [self.joints.get(name, entry) for name, entry in zip(names, as_given, strict=True)]
        index, sign = np.array([joint.index for joint in joints]), np.array([float(joint.sign) for joint in joints])
        offset = given.offset
        if self.pose is not None:
            offset = np.where(index >= 0, np.array(self.pose)[index] / given.per_radian - sign * known, 0.0)
        limits = given.limits if given.real_dof == self.real_dof else None
        return JointMap(index, sign, offset, self.real_dof, limits, given.per_radian)

    def write(self, file: Path) -> None:
        """All of it, as JSON."""
        boxes = {name: [box.lower.tolist(), box.upper.tolist(), box.floor] for name, box in self.boxes.items()}
        joints = {name: [joint.index, joint.sign] for name, joint in self.joints.items()}
        fields = {**vars(self), "joints": joints, "boxes": boxes}
        with replacing(file) as temporary:
            temporary.write_text(json.dumps(fields, indent=1) + "\n")

    @classmethod
    def read(cls, file: Path) -> Self:
        """What ``write`` has written.

        Raises:
            UserError: it is something else.
        """
        try:
            fields = json.loads(file.read_text())
            joints = {name: RealJoint(*entry) for name, entry in fields.pop("joints").items()}
            boxes = {
                name: Box(np.array(lower), np.array(upper), floor)
                for name, (lower, upper, floor) in fields.pop("boxes").items()
            }
            pose = fields.pop("pose")
            return cls(joints=joints, boxes=boxes, pose=None if pose is None else tuple(pose), **fields)
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise UserError(f"{file} holds no measurements ({error}); remove it to measure anew") from None
