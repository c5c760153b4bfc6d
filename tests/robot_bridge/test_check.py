"""The check of a driver and of the robot.yaml that goes with it."""

import pytest

pytest.importorskip("robosuite")

from robot_bridge.check import MENDS
from robot_bridge.drivers.conformance import CHECKS
from tests.robot_bridge.policies import with_patience
from tests.robot_bridge.processes import Bench


@pytest.fixture
def bench(tmp_path):
    bench = Bench(tmp_path)
    bench.twin("--camera-rate", "0")
    yield bench
    bench.close()


def test_the_twin_passes_all(bench):
    def attempt() -> None:
        check = bench.start("robot_bridge.check", str(bench.robot), "--at-home")
        assert check.wait(120) == 0, check.out.text() + check.err.text()
        assert check.out.text().count("passed  ") == len(CHECKS) + 6
        assert "the arm is about" in check.out.text()

    with_patience(attempt)


@pytest.mark.parametrize(
    ("old", "new"),
    [("[2, 4, 6, 1, 5, 3, 0]", "[2, 4, 6, 5, 1, 3, 0]"), ("sign: [1, -1, 1, -1", "sign: [1, -1, 1, 1")],
)
def test_a_wrong_joint_map_is_found_before_anything_moves(bench, old, new):
    bench.robot.write_text(bench.robot.read_text().replace(old, new))
    check = bench.start("robot_bridge.check", str(bench.robot), "--at-home")
    assert check.wait(60) == 1
    said = check.out.text()
    assert "FAILED  By the joint map the measured joints lie" in said
    assert "mend: sim_to_real_idx, sign, offset" in said
    assert "the arm was not moved" in said


def test_every_check_says_what_to_mend():
    assert {check.__name__ for check in CHECKS} <= set(MENDS)
