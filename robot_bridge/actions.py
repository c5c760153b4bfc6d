"""What the numbers of an action ask of a robot, and what its states look like to a policy.

An action is, arm by arm, what its ``mode`` says and then the gripper's number; ``RobotConfig.embodiment`` names them.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from common.embodiment import Embodiment
from common.errors import UserError
from robot_bridge.asker import Observation
from robot_bridge.config import GripperConfig, RobotConfig
from robot_bridge.rotations import rotation_matrix
from robot_bridge.safety import HandPose, Limb, Wish


class HandReference(Protocol):
    """Where actions move the hand: ``robot_bridge.osc.OscReference``; ``joints`` are its own arm's."""

    @property
    def joints(self) -> np.ndarray: ...

    def advance(
        self, position: np.ndarray, rotation: np.ndarray, action: np.ndarray, joints: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]: ...

    def rest(self) -> None: ...

    def joint_step(self, action: np.ndarray) -> np.ndarray: ...


class ActionReader:
    """Reads actions (d,) for the arms of ``config``; mode ``osc_delta`` needs a reference for each of ``limbs``."""

    def __init__(self, config: RobotConfig, limbs: Sequence[Limb], references: Sequence[HandReference] = ()):
        assert len(references) == (len(limbs) if config.mode == "osc_delta" else 0)
        self._config, self._limbs, self._references = config, limbs, references
        self.width = config.embodiment.action_width
        self._arms, self._grippers = layout(config)

    def wish(self, action: np.ndarray, q: np.ndarray, absent: np.ndarray) -> Wish:
        """What the action asks for: joint targets (n,) rad or poses of the hands.

        ``q`` (n,) rad is the last command, where deltas begin; ``absent`` (n,) where joints are that the robot lacks.
        """
        parts = [np.asarray(action[part], np.float64) for part in self._arms]
        if self._config.mode in ("joint_target", "joint_delta"):
            joints = np.concatenate(parts)
            joints = joints if self._config.mode == "joint_target" else q + joints
            return np.where(self._config.joint_map.present, joints, absent)
        return tuple(self._pose(number, part, q[self._limbs[number].joints]) for number, part in enumerate(parts))

    def openings(self, action: np.ndarray, before: np.ndarray) -> np.ndarray:
        """Where the fingers of each gripper (g,) are to be; ``before`` (g,) is where they were told to be last."""
        pairs = zip(self._config.grippers, action[self._grippers], before, strict=True)
        return np.array([gripper.opening(float(number), told) for gripper, number, told in pairs])

    def joint_step(self, difference: np.ndarray) -> np.ndarray | None:
        """How far (n,) rad what two actions (d,) differ in takes the joints in one control period; None where actions
        are poses."""
        parts = [np.asarray(difference[part], np.float64) for part in self._arms]
        if self._config.mode in ("joint_target", "joint_delta"):
            return np.concatenate(parts)
        if self._config.mode != "osc_delta":
            return None
        pairs = zip(self._references, parts, strict=True)
        return np.concatenate([reference.joint_step(part) for reference, part in pairs])

    def rest(self) -> None:
        """The arms stand; the next action starts from rest."""
        for reference in self._references:
            reference.rest()

    def _pose(self, number: int, action: np.ndarray, q: np.ndarray) -> HandPose:
        if self._config.mode == "pose_target":
            return HandPose(action[:3], rotation_matrix(action[3:]), q)
        position, rotation = self._limbs[number].body.pose(q)
        if self._config.mode == "pose_delta":
            return HandPose(position + action[:3], rotation_matrix(action[3:]) @ rotation, q)
        alike, reference = self._config.is_training_arm, self._references[number]
        pose = reference.advance(position, rotation, action, q if alike else None)
        return HandPose(*pose, near=reference.joints if alike else q)


def layout(config: RobotConfig) -> tuple[list[slice], np.ndarray]:
    """Which numbers of an action are each arm's, and the place (g,) of each gripper's."""
    arms, grippers, start = [], [], 0
    for group in config.embodiment.action:
        if group.kind.startswith("gripper_"):
            grippers.append(start)
        else:
            arms.append(slice(start, start + group.width))
        start += group.width
    return arms, np.array(grippers, int)


def openings(grippers: Sequence[GripperConfig], fingers: np.ndarray) -> np.ndarray:
    """How far each gripper (g,) is open when its fingers (f,) are where they are."""
    ends = np.cumsum([gripper.fingers for gripper in grippers], dtype=int)
    return np.array([float(np.abs(part).mean()) for part in np.split(fingers, ends[:-1])][: len(grippers)])


def state_reader(config: RobotConfig, policy: Embodiment | None) -> Callable[[Observation], np.ndarray]:
    """What makes the state (d,) that the policy wants of an observation.

    A policy that does not say what it wants gets joints and fingers, arm by arm.

    Raises:
        UserError: it wants what the robot does not have (``common.embodiment.disagreements`` says it better).
    """
    parts: dict[str, Callable[[Observation], np.ndarray]] = {}
    finger = 0
    for number, (arm, own) in enumerate(zip(config.arms, config.slices, strict=True)):
        prefix = f"{arm.name}." if len(config.arms) > 1 else ""
        parts[f"{prefix}joints"] = lambda seen, own=own: seen.q[own]  # type: ignore[misc]
        parts[f"{prefix}pose"] = lambda seen, number=number: seen.hands[number]  # type: ignore[misc]
        if arm.gripper is not None:
            fingers = slice(finger, finger + arm.gripper.fingers)
            finger += arm.gripper.fingers
            parts[f"{prefix}fingers"] = lambda seen, fingers=fingers: seen.fingers[fingers]  # type: ignore[misc]
    wanted = [group.name for group in policy.state] if policy is not None else [n for n in parts if "pose" not in n]
    unknown = [name for name in wanted if name not in parts]
    if unknown:
        raise UserError(f"the policy wants the state {', '.join(unknown)}; the robot has {', '.join(parts)}")
    chosen = [parts[name] for name in wanted]
    return lambda seen: np.concatenate([part(seen) for part in chosen]).astype(np.float32)
