"""What is kept of a calibration that goes on later."""

import numpy as np
import pytest

from common.errors import UserError
from robot_bridge.calibration.measurements import Measurements, RealJoint
from robot_bridge.config import Box


def test_what_is_written_is_read(tmp_path):
    box = Box(np.array([0.1, -0.2, 0.3]), np.array([0.5, 0.2, 0.6]), 0.05)
    measurements = Measurements(
        9, {"joint1": RealJoint(4, -1)}, (0.1, 0.2), {"arm": box}, {"arm.open": 0.04}, {"joint1": "joint 4"}
    )
    measurements.write(tmp_path / "kept.json")
    back = Measurements.read(tmp_path / "kept.json")
    assert (back.real_dof, back.joints, back.pose) == (9, measurements.joints, (0.1, 0.2))
    assert (back.openings, back.done) == (measurements.openings, measurements.done)
    np.testing.assert_array_equal(back.boxes["arm"].upper, box.upper)
    assert back.boxes["arm"].floor == 0.05


@pytest.mark.parametrize("text", ["", "[]", '{"joints": 3}', '{"joints": {}, "boxes": {}, "pose": null, "what": 1}'])
def test_a_file_that_holds_something_else_is_named(tmp_path, text):
    file = tmp_path / "kept.json"
    file.write_text(text)
    with pytest.raises(UserError, match=r"kept\.json holds no measurements .* remove it"):
        Measurements.read(file)
