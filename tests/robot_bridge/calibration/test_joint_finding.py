"""Where a joint of the model goes, said in words."""

import numpy as np
import pytest

pytest.importorskip("mink")
pytest.importorskip("robosuite")

from robot_bridge.calibration.joint_finding import positive_direction
from robot_bridge.config import read_robot
from robot_bridge.kinematics import limbs_of


def test_the_directions_of_a_panda_at_home_are_those_of_its_data_sheet():
    config = read_robot("twin")
    (limb,) = limbs_of(config)
    said = [positive_direction(limb.body, np.asarray(config.home), joint) for joint in range(7)]
    assert said[0] == "the hand goes left"  # counter-clockwise about the upright axis
    assert said[1] == "the hand goes down"
    assert said[3] == "the hand goes forward and up"
    assert said[6] == "the hand turns clockwise, seen from above"  # its axis points down
