"""The robot.yaml that a calibration writes."""

import numpy as np
import pytest
import yaml

pytest.importorskip("mujoco")

from common.joint_map import JointMap
from robot_bridge.calibration.measurements import Measurements
from robot_bridge.calibration.robot_file import calibrated, changes, write_robot
from robot_bridge.config import CONFIGS, Box, RobotConfigError, read_mapping, read_robot, robot_of

BOX = Box(np.array([0.1, -0.1, 0.1]), np.array([0.3, 0.1, 0.3]), 0.05)
MAP = JointMap(np.array([4, -1, 0, 1, 2]), np.array([1.0, 1, -1, 1, 1]), np.zeros(5), 6, None, 180 / np.pi)


def test_the_file_is_the_given_one_with_what_was_measured_and_is_read_from_any_folder(tmp_path):
    given, config = read_mapping(CONFIGS / "so101.yaml"), read_robot("so101")
    measurements = Measurements(6, boxes={"arm": BOX}, openings={"arm.open": 97.0})
    write_robot(tmp_path / "mine.yaml", calibrated(given, config, MAP, measurements), "measured\nby hand")
    mine = read_robot(tmp_path / "mine.yaml")
    assert (tmp_path / "mine.yaml").read_text().startswith("# measured\n# by hand\nname: so101\n")
    assert mine.joint_map.index.tolist() == [4, -1, 0, 1, 2]
    assert (mine.joint_map.real_dof, mine.joint_map.per_radian) == (6, MAP.per_radian)
    assert (mine.safety.workspace_floor, mine.safety.workspace_upper.tolist()) == (0.05, [0.3, 0.1, 0.3])
    assert (mine.grippers[0].open, mine.grippers[0].closed, mine.grippers[0].unit) == (97.0, 0, "percent")
    assert mine.safety.velocity.tolist() == config.safety.velocity.tolist()
    assert (CONFIGS / "so101.xml").samefile(mine.model)


def test_of_several_arms_each_gets_its_own_box(tmp_path):
    given = read_mapping(CONFIGS / "so101.yaml")
    joints, site = given.pop("joints"), given.pop("site")
    gripper = given.pop("gripper")
    given["arms"] = {
        "left": {"joints": joints[:2], "site": site, "gripper": "none"},
        "right": {"joints": joints[2:], "site": site, "gripper": gripper},
    }
    config = robot_of(given, CONFIGS / "two.yaml")
    measurements = Measurements(6, boxes={"right": BOX}, openings={"right.closed": 3.0})
    mine = robot_of(calibrated(given, config, MAP, measurements), tmp_path / "mine.yaml")
    assert (mine.arms[0].box, mine.arms[1].box.floor, mine.grippers[0].closed) == (None, 0.05, 3.0)


def test_what_changes_is_said_by_name():
    before = {"a": {"b": [1, 2], "c": 3}, "d": "x"}
    assert changes(before, {"a": {"b": [1, 3], "c": 3}, "e": 4}) == [
        "a.b: [1, 2] -> [1, 3]",
        "d: x -> (not there)",
        "e: (not there) -> 4",
    ]


def test_what_is_no_robot_is_not_written(tmp_path):
    given = yaml.safe_load((CONFIGS / "so101.yaml").read_text()) | {"gripper": {"open": 1, "closed": 1}}
    with pytest.raises(RobotConfigError, match="must differ"):
        write_robot(tmp_path / "mine.yaml", given, "")
    assert not list(tmp_path.iterdir())
