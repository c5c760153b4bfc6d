"""The steps of a calibration: what the person is asked to do with the arm, and what is concluded from it."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from robot_bridge.calibration.joint_finding import ENOUGH, find_joint
from robot_bridge.calibration.measurements import Measurements, RealJoint, Unclear, box_step
from robot_bridge.calibration.visited_box import VisitedBox
from robot_bridge.config import Box, RobotConfig
from robot_bridge.safety import Limb

SAME = 0.2
"""Share of its given stroke that a gripper must move between open and closed at least."""


@dataclass(frozen=True)
class Standing:
    """What the robot said while it stood, averaged: q (real_dof,) and fingers (f,) in its own units."""

    q: np.ndarray
    fingers: np.ndarray


Conclude = Callable[[Measurements, Standing], Measurements]


@dataclass(frozen=True)
class Choice:
    """What a key does; ``conclude`` raises ``Unclear`` where that is not possible."""

    label: str
    conclude: Conclude


class Step(ABC):
    """One thing that is measured. ``name`` is unique; ``choices`` are by key, those for all steps apart."""

    name: str
    choices: Mapping[str, Choice]

    @abstractmethod
    def ask(self, measurements: Measurements) -> str:
        """What the person is to do."""

    def begin(self, measurements: Measurements, standing: Standing) -> None:  # noqa: B027
        """The arm stands where the step begins; also when it is to begin again."""

    def hear(self, q: np.ndarray) -> str:
        """Where the arm is on its way, ``q`` (real_dof,); returns what to show of that."""
        return ""


class JointStep(Step):
    """Finds one joint of the model among the robot's; ``direction`` says in words where it goes."""

    def __init__(self, config: RobotConfig, joint: int, direction: str):
        self._config, self._joint, self._direction = config, joint, direction
        self.name = config.joints[joint]
        self.choices = {
            "enter": Choice("it has moved", self._measure),
            "m": Choice("the robot does not have it", self._miss),
            "k": Choice("as given", self._keep),
        }
        self._from = np.zeros(0)

    def ask(self, measurements: Measurements) -> str:
        number = f"{self._joint + 1} of {len(self._config.joints)}"
        return (
            f"{self.name} ({number}): from about the known pose move this joint alone, 20 degrees or so, forwards: "
            f"{self._direction}"
        )

    def begin(self, measurements: Measurements, standing: Standing) -> None:
        self._from = standing.q

    def hear(self, q: np.ndarray) -> str:
        moved = self._moved(q)
        most = int(np.abs(moved).argmax())
        return f"joint {most} of the robot, {np.degrees(moved[most]):+.1f} degrees"

    def _moved(self, q: np.ndarray) -> np.ndarray:
        return (q - self._from) / self._config.joint_map.per_radian

    def _measure(self, measurements: Measurements, standing: Standing) -> Measurements:
        moved = self._moved(standing.q)
        if np.abs(moved).max() >= ENOUGH:
            self._from = standing.q  # should this attempt fail, the next one begins here
        joint = find_joint(moved, self._taken(measurements))
        sense = "the same way" if joint.sign > 0 else "the other way"
        return self._having(measurements, joint, f"joint {joint.index} of the robot, {sense}")

    def _miss(self, measurements: Measurements, standing: Standing) -> Measurements:
        return self._having(measurements, RealJoint(-1), "the robot does not have it")

    def _keep(self, measurements: Measurements, standing: Standing) -> Measurements:
        index, sign = (int(part[self._joint]) for part in (self._config.joint_map.index, self._config.joint_map.sign))
        taken = self._taken(measurements)
        if index >= measurements.real_dof:
            raise Unclear(f"the given map has joint {index} for it; the robot has 0 to {measurements.real_dof - 1}")
        if index in taken:
            raise Unclear(f"the given map has joint {index} for it, which is {taken[index]} already")
        return self._having(measurements, RealJoint(index, sign), f"joint {index} of the robot, as given")

    def _taken(self, measurements: Measurements) -> dict[int, str]:
        joints = measurements.joints.items()
        return {joint.index: name for name, joint in joints if joint.index >= 0 and name != self.name}

    def _having(self, measurements: Measurements, joint: RealJoint, outcome: str) -> Measurements:
        return measurements.having(self.name, outcome, joints={**measurements.joints, self.name: joint})


class PoseStep(Step):
    """Finds the offsets in a pose (n,) rad that robot and model both know."""

    name = "offsets"

    def __init__(self, config: RobotConfig, pose: np.ndarray):
        self._config, self._pose = config, pose
        self.choices = {
            "enter": Choice("it stands there", self._measure),
            "k": Choice("offsets as given", self._keep),
        }

    def ask(self, measurements: Measurements) -> str:
        joints = ", ".join(f"{name} {q:.3f}" for name, q in zip(self._config.joints, self._pose, strict=True))
        return f"bring the arm to the known pose of the picture, look from two sides, hold it still; rad: {joints}"

    def _measure(self, measurements: Measurements, standing: Standing) -> Measurements:
        after = measurements.having(self.name, "measured", pose=tuple(standing.q.tolist()))
        offset = after.joint_map(self._config.joint_map, self._config.joints, self._pose).offset
        return after.having(self.name, f"offsets {offset.round(3).tolist()} rad")

    def _keep(self, measurements: Measurements, standing: Standing) -> Measurements:
        given = self._config.joint_map
        after = measurements.having(self.name, "offsets as given", pose=None)
        joint_map = after.joint_map(given, self._config.joints, self._pose)
        if not (np.array_equal(joint_map.index, given.index) and np.array_equal(joint_map.sign, given.sign)):
            raise Unclear("the joint map is not the given one any more: its offsets have to be measured")
        return after


class BoxStep(Step):
    """Finds the box of one arm, ``margin`` (m) inside of where it is guided; ``pose`` (n,) rad is the known one."""

    def __init__(self, config: RobotConfig, arm: int, limb: Limb, pose: np.ndarray, margin: float):
        self._config, self._limb, self._pose, self._margin = config, limb, pose, margin
        self._arm = config.arms[arm].name
        self.name = box_step(self._arm)
        self.choices = {
            "enter": Choice("it has been everywhere", self._measure),
            "k": Choice("as given", self._keep),
        }

    def ask(self, measurements: Measurements) -> str:
        return (
            f"{self.name}: guide the hand to all sides of where it may work, up to the top, and the tips of the "
            "fingers down to where they may go; x points forward, y to the left, z up"
        )

    def begin(self, measurements: Measurements, standing: Standing) -> None:
        config, own = self._config, self._limb.joints
        self._map = measurements.joint_map(config.joint_map, config.joints, self._pose)
        real_lower, real_upper = self._map.sim_limits()
        margin = config.safety.margin
        lower = np.maximum(config.safety.lower, real_lower) + margin
        upper = np.minimum(config.safety.upper, real_upper) - margin
        self._visited = VisitedBox(self._limb.body, lower[own], upper[own])

    def hear(self, q: np.ndarray) -> str:
        self._visited.visit(self._map.to_sim(q, self._pose)[self._limb.joints])
        return str(self._visited)

    def _measure(self, measurements: Measurements, standing: Standing) -> Measurements:
        box = self._visited.less(self._margin)
        box = Box(box.lower.round(4), box.upper.round(4), round(box.floor, 4))
        outcome = f"{box.lower.tolist()} to {box.upper.tolist()}, floor {box.floor} m"
        if self._visited.beyond:
            names = self._config.joints[self._limb.joints]
            beyond = {
                name: f"{way:.2f} rad" for name, way in zip(names, self._visited.furthest, strict=True) if way > 0
            }
            share = self._visited.beyond / (self._visited.beyond + self._visited.poses)
            outcome += f"; left out, beyond the limits of safety.position, {share:.0%} of the way: "
            outcome += ", ".join(f"{name} by {way}" for name, way in beyond.items())
        return measurements.having(self.name, outcome, boxes={**measurements.boxes, self._arm: box})

    def _keep(self, measurements: Measurements, standing: Standing) -> Measurements:
        boxes = {arm: box for arm, box in measurements.boxes.items() if arm != self._arm}
        return measurements.having(self.name, "as given", boxes=boxes)


class GripperStep(Step):
    """Finds what the robot says of a finger when the gripper is open, or closed (``end``).

    ``fingers`` are which of the state's numbers are its.
    """

    def __init__(self, config: RobotConfig, arm: int, end: str, fingers: slice):
        gripper = config.arms[arm].gripper
        assert gripper is not None
        self._arm, self._end, self._fingers, self._gripper = config.arms[arm].name, end, fingers, gripper
        self.name = f"gripper of {self._arm}, {end}"
        self.choices = {"enter": Choice(f"it is {end}", self._measure), "k": Choice("as given", self._keep)}

    def ask(self, measurements: Measurements) -> str:
        way = "open the gripper as far as it goes" if self._end == "open" else "close the gripper on nothing"
        return f"{self.name}: {way}, by hand or with the robot's own tools"

    def _measure(self, measurements: Measurements, standing: Standing) -> Measurements:
        fingers = standing.fingers[self._fingers]
        value = round(float(np.mean(fingers * np.resize([1.0, -1.0], len(fingers)))), 4)
        other = measurements.openings.get(f"{self._arm}.open")
        stroke = abs(self._gripper.open - self._gripper.closed)
        if self._end == "closed" and other is not None and abs(value - other) < SAME * stroke:
            raise Unclear(f"the fingers are at {value:g}, and were at {other:g} when open; close them, or go back")
        openings = {**measurements.openings, f"{self._arm}.{self._end}": value}
        return measurements.having(self.name, f"{value:g} {self._gripper.unit}", openings=openings)

    def _keep(self, measurements: Measurements, standing: Standing) -> Measurements:
        name = f"{self._arm}.{self._end}"
        openings = {key: value for key, value in measurements.openings.items() if key != name}
        return measurements.having(self.name, "as given", openings=openings)
