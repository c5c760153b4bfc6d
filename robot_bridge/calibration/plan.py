"""What a calibration measures of a robot, in which order, and the file that comes of it."""

import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from common.errors import require
from common.files import digest_of
from common.gl import RenderingUnavailable
from robot_bridge.calibration.joint_finding import positive_direction
from robot_bridge.calibration.measurements import Measurements
from robot_bridge.calibration.pictures import Studio
from robot_bridge.calibration.review import Review
from robot_bridge.calibration.robot_file import calibrated, write_robot
from robot_bridge.calibration.steps import BoxStep, GripperStep, JointStep, PoseStep, Step
from robot_bridge.config import RobotConfig, read_mapping, robot_file, robot_of
from robot_bridge.drivers.protocol import VERSION
from robot_bridge.kinematics import limbs_of


@dataclass(frozen=True)
class Plan:
    """``given`` is what stands in ``source``, ``config`` what it means; ``pose`` (n,) rad is known to arm and model.

    ``margin`` (m) is kept between what the hand visits and its box; ``out`` is the file to write.
    """

    source: Path
    given: dict[str, Any]
    config: RobotConfig
    pose: np.ndarray
    margin: float
    out: Path

    @classmethod
    def of(cls, robot: str, out: Path, pose: list[float] | None, margin: float) -> "Plan":
        """For a ``robot.yaml``; ``pose`` None is its home.

        Raises:
            UserError: it has no home, or the arm cannot be in that pose.
        """
        source = robot_file(robot)
        given = read_mapping(source)
        config = robot_of(given, source)
        return cls(source, given, config, _known_pose(config, pose), margin, out)

    @property
    def kept(self) -> Path:
        """Where measurements wait until all are there."""
        return self.out.with_suffix(".measured.json")

    def begun(self, real_dof: int, fingers: int) -> Measurements:
        """What an earlier call has kept, or nothing yet, of a robot with so many joints and finger positions.

        Raises:
            UserError: what was kept is another robot's, or ``source`` says another number of fingers.
        """
        require(
            fingers == self.config.fingers,
            f"the robot reports {fingers} finger positions, {self.source} has {self.config.fingers}; mend gripper "
            "there (fingers: N, or gripper: none)",
        )
        if not self.kept.exists():
            return Measurements(real_dof)
        measurements = Measurements.read(self.kept)
        same = measurements.real_dof == real_dof and set(measurements.joints) <= set(self.config.joints)
        require(same, f"{self.kept} is of another robot; remove it to measure anew")
        return measurements

    def steps(self) -> list[Step]:
        """Joints, offsets, boxes, grippers, and a look at all of it."""
        config, limbs = self.config, limbs_of(self.config)
        joints: list[Step] = []
        for limb, own in zip(limbs, config.slices, strict=True):
            for number, joint in enumerate(range(own.start, own.stop)):
                joints.append(JointStep(config, joint, positive_direction(limb.body, self.pose[own], number)))
        boxes = [BoxStep(config, arm, limb, self.pose, self.margin) for arm, limb in enumerate(limbs)]
        grippers, first = list[Step](), 0
        for arm, entry in enumerate(config.arms):
            if entry.gripper is not None:
                fingers = slice(first, first + entry.gripper.fingers)
                grippers += [GripperStep(config, arm, end, fingers) for end in ("open", "closed")]
                first = fingers.stop
        review = Review(self.given, self.compose, self.out, self.out.with_suffix(".workspace.png"))
        return [*joints, PoseStep(config, self.pose), *boxes, *grippers, review]

    def draw_joints(self) -> str:
        """Draws what forwards means for each joint, beside ``out``; returns what to say about it."""
        picture = self.out.with_suffix(".joints.png")
        try:
            with Studio(self.config) as studio:
                studio.draw_joints(self.pose, picture)
        except RenderingUnavailable as trouble:
            return f"no picture of the joints: {trouble}"
        return f"look at {picture}: the known pose, and in blue each joint half a radian forwards"

    def compose(self, measurements: Measurements) -> dict[str, Any]:
        """What ``out`` is to say."""
        joint_map = measurements.joint_map(self.config.joint_map, self.config.joints, self.pose)
        return calibrated(self.given, self.config, joint_map, measurements)

    def write(self, measurements: Measurements) -> None:
        """Writes ``out``, with what was measured, when and by what above it, and lets go of what was kept."""
        packages = ", ".join(f"{name} {version(name)}" for name in ("amplify-deploy", "mujoco", "numpy"))
        about = [
            f"Measured by python -m robot_bridge.calibrate, {time.strftime('%Y-%m-%d %H:%M %Z')}, from "
            f"{self.source.name} (sha256 {digest_of(self.source)}),",
            f"with {packages}, robot protocol {VERSION}.",
            f"Known pose: {self.pose.tolist()} rad. Margin: {self.margin:g} m.",
            *(f"{name}: {outcome}" for name, outcome in measurements.done.items() if name != Review.name),
        ]
        write_robot(self.out, self.compose(measurements), "\n".join(about))
        self.kept.unlink(missing_ok=True)


def _known_pose(config: RobotConfig, pose: list[float] | None) -> np.ndarray:
    if pose is None:
        require(config.home is not None, "the robot has no home; say which pose you bring it to: --pose Q1 Q2 ...")
        assert config.home is not None
        return config.home
    require(len(pose) == len(config.joints), f"--pose has {len(pose)} numbers, the robot {len(config.joints)} joints")
    known = np.array(pose)
    outside = (known < config.safety.lower) | (known > config.safety.upper)
    require(not outside.any(), f"--pose is outside of safety.position at {np.array(config.joints)[outside].tolist()}")
    return known
