"""The last step: what will be written, and a picture of it, for a person to look at."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from common.gl import RenderingUnavailable
from robot_bridge.calibration.measurements import Measurements
from robot_bridge.calibration.pictures import Studio
from robot_bridge.calibration.robot_file import changes
from robot_bridge.calibration.steps import Choice, Standing, Step
from robot_bridge.config import Box, RobotConfig, robot_of
from robot_bridge.kinematics import limbs_of
from robot_bridge.workspace import Workspace


class Review(Step):
    """Shows what ``file`` would say, which ``compose`` makes of the measurements, beside what is ``given``."""

    name = "review"

    def __init__(self, given: dict, compose: Callable[[Measurements], dict], file: Path, picture: Path):
        self._given, self._compose, self._file, self._picture = given, compose, file, picture
        self.choices = {
            "w": Choice(f"write {file}", lambda measurements, standing: measurements.having(self.name, "seen"))
        }

    def ask(self, measurements: Measurements) -> str:
        after = self._compose(measurements)
        lines = changes(self._given, after) or ["nothing differs from what was given"]
        return "\n".join(("what changes:", *(f"  {line}" for line in lines), *warnings(robot_of(after, self._file))))

    def begin(self, measurements: Measurements, standing: Standing) -> None:
        config = robot_of(self._compose(measurements), self._file)
        q = config.joint_map.to_sim(standing.q, np.zeros(len(config.joints)))
        try:
            with Studio(config) as studio:
                studio.draw_boxes(q, boxes_of(config), self._picture)
        except RenderingUnavailable as trouble:
            print(f"no picture: {trouble}", flush=True)
        else:
            print(f"look at {self._picture}: does the arm stand there as it stands before you, in its box?", flush=True)


def boxes_of(config: RobotConfig) -> list[Box]:
    """Of each arm."""
    limits = [config.safety.within(arm.box) for arm in config.arms]
    return [Box(limit.workspace_lower, limit.workspace_upper, limit.workspace_floor) for limit in limits]


def warnings(config: RobotConfig) -> list[str]:
    """What does not fit together in a ``robot.yaml``: a home outside its box."""
    if config.home is None:
        return []
    outside = []
    for arm, limb in zip(config.arms, limbs_of(config), strict=True):
        workspace = Workspace(config.safety.within(arm.box), limb.body, config.home[limb.joints])
        if (workspace.allowed < 0).any():
            away = -workspace.allowed.min() * 100
            outside.append(
                f"warning: at home {arm.name} is {away:.1f} cm outside of its box; make that larger, or move home"
            )
    return outside
