"""The steps of a calibration, with arms that are moved on paper: what comes out is how the arm is wired."""

import numpy as np
import pytest

from common.joint_map import JointMap
from robot_bridge.calibration.measurements import Measurements, Unclear
from robot_bridge.calibration.steps import BoxStep, GripperStep, JointStep, PoseStep, Standing
from robot_bridge.config import ArmConfig, RobotConfig
from robot_bridge.safety import Limb
from tests.robot_bridge.arms import DOF, LinearArm, robot_config, safety_config

POSE = np.linspace(-0.3, 0.3, DOF)
NOISE = 0.003
"""rad of an averaged encoder."""


def given(**changes) -> RobotConfig:
    """A ``robot.yaml`` that knows nothing of the wiring."""
    as_it_comes = JointMap(np.arange(DOF), np.ones(DOF), np.zeros(DOF), DOF)
    return robot_config("none", "none", joint_map=as_it_comes, **changes)


class Guided:
    """An arm wired as ``wiring`` says, its joints (n,) rad ``q`` as the simulator has them."""

    def __init__(self, wiring: JointMap, seed: int = 0):
        self.wiring, self.q = wiring, POSE.copy()
        self._rng = np.random.default_rng(seed)
        self._others = self._rng.normal(size=wiring.real_dof)

    def stand(self, fingers: tuple[float, ...] = (0.04, -0.04)) -> Standing:
        q = self.wiring.to_real(self.q, self._others)
        return Standing(q + self._rng.normal(0, NOISE * self.wiring.per_radian, len(q)), np.array(fingers))


def wired(seed: int, real_dof: int = DOF, absent: int = 0, unit: str = "rad") -> JointMap:
    """Some wiring: order, signs, offsets; of 7 joints ``absent`` are not there."""
    rng = np.random.default_rng(seed)
    index = rng.permutation(real_dof)[:DOF].tolist()
    for joint in rng.permutation(DOF)[:absent]:
        index[joint] = -1
    wiring = {"sim_to_real_idx": index, "real_dof": real_dof, "unit": unit, "apply_sim_to_real_map": True}
    return JointMap.from_config(
        wiring | {"sign": rng.choice([-1, 1], DOF).tolist(), "offset": rng.uniform(-3, 3, DOF).tolist()}, DOF
    )


def find_map(config: RobotConfig, arm: Guided) -> Measurements:
    """All joints one after the other, then the known pose."""
    measurements = Measurements(arm.wiring.real_dof)
    for joint in range(DOF):
        step = JointStep(config, joint, "somewhere")
        step.begin(measurements, arm.stand())
        arm.q[joint] += 0.4
        key = "enter" if arm.wiring.present[joint] else "m"
        measurements = step.choices[key].conclude(measurements, arm.stand())
    arm.q = POSE.copy()
    return PoseStep(config, POSE).choices["enter"].conclude(measurements, arm.stand())


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("real_dof", "absent"), [(7, 0), (9, 0), (7, 2), (12, 1)])
def test_any_wiring_is_found(seed, real_dof, absent):
    wiring, config = wired(seed, real_dof, absent), given()
    found = find_map(config, Guided(wiring, seed)).joint_map(config.joint_map, config.joints, POSE)
    there = wiring.present
    np.testing.assert_array_equal(found.index, wiring.index)
    np.testing.assert_array_equal(found.sign[there], wiring.sign[there])
    np.testing.assert_allclose(found.offset[there], wiring.offset[there], atol=5 * NOISE)
    assert found.real_dof == real_dof


def test_a_robot_that_speaks_degrees_is_found_in_radians():
    wiring = wired(3, unit="deg")
    config = robot_config(
        "none", "none", joint_map=JointMap(np.arange(DOF), np.ones(DOF), np.zeros(DOF), DOF, None, 180 / np.pi)
    )
    found = find_map(config, Guided(wiring)).joint_map(config.joint_map, config.joints, POSE)
    np.testing.assert_allclose(found.to_real(POSE + 0.1), wiring.to_real(POSE + 0.1), atol=1.0)


def test_degrees_that_nobody_spoke_of_are_named():
    step, arm = JointStep(given(), 0, "up"), Guided(wired(3, unit="deg"))
    step.begin(Measurements(DOF), arm.stand())
    arm.q[0] += 0.4
    with pytest.raises(Unclear, match="if it speaks degrees: joint_map unit"):
        step.choices["enter"].conclude(Measurements(DOF), arm.stand())


def test_two_joints_moved_at_once_are_asked_for_again_from_where_the_arm_is_then():
    wiring = wired(1)
    step, arm = JointStep(given(), 2, "up"), Guided(wiring)
    step.begin(Measurements(DOF), arm.stand())
    arm.q[2] += 0.5
    arm.q[4] += 0.3
    with pytest.raises(Unclear, match="several joints of the robot moved"):
        step.choices["enter"].conclude(Measurements(DOF), arm.stand())
    arm.q[2] += 0.4
    measurements = step.choices["enter"].conclude(Measurements(DOF), arm.stand())
    assert measurements.joints["joint2"].index == wiring.index[2]


def test_a_joint_that_hardly_moved_may_be_moved_further():
    step, arm = JointStep(given(), 2, "up"), Guided(wired(1))
    step.begin(Measurements(DOF), arm.stand())
    arm.q[2] += 0.15
    with pytest.raises(Unclear, match="no joint moved far enough"):
        step.choices["enter"].conclude(Measurements(DOF), arm.stand())
    arm.q[2] += 0.15
    assert "joint2" in step.choices["enter"].conclude(Measurements(DOF), arm.stand()).joints


def test_a_joint_of_the_robot_is_given_away_once():
    config, arm = given(), Guided(wired(1))
    measurements = Measurements(DOF)
    first, second = JointStep(config, 0, "up"), JointStep(config, 1, "down")
    first.begin(measurements, arm.stand())
    arm.q[0] += 0.4
    measurements = first.choices["enter"].conclude(measurements, arm.stand())
    second.begin(measurements, arm.stand())
    arm.q[0] -= 0.4
    with pytest.raises(Unclear, match="which is joint0 already"):
        second.choices["enter"].conclude(measurements, arm.stand())


def test_a_given_joint_is_not_kept_where_the_robot_lacks_it_or_another_has_it():
    config = given()
    with pytest.raises(Unclear, match="the robot has 0 to 4"):
        JointStep(config, 6, "up").choices["k"].conclude(Measurements(5), Guided(wired(1)).stand())
    step, arm = JointStep(config, 0, "up"), Guided(wired(1))
    step.begin(Measurements(DOF), arm.stand())
    arm.q[0] += 0.4
    measurements = step.choices["enter"].conclude(Measurements(DOF), arm.stand())
    other = JointStep(config, int(measurements.joints["joint0"].index), "up")
    with pytest.raises(Unclear, match="is joint0 already"):
        other.choices["k"].conclude(measurements, arm.stand())


def test_given_offsets_are_kept_with_the_given_map_only():
    config, arm = given(), Guided(wired(1))
    step = PoseStep(config, POSE)
    assert step.choices["k"].conclude(Measurements(DOF), arm.stand()).pose is None
    with pytest.raises(Unclear, match="its offsets have to be measured"):
        step.choices["k"].conclude(find_map(config, arm), arm.stand())


def box_step(config: RobotConfig, margin: float = 0.02) -> BoxStep:
    return BoxStep(config, 0, Limb(LinearArm()), POSE, margin)


def test_the_box_is_what_was_visited_less_the_margin_by_the_map_that_was_found():
    config, arm = given(safety=safety_config(lower=np.full(DOF, -3.0), upper=np.full(DOF, 3.0))), Guided(wired(2))
    measurements, step = find_map(config, arm), box_step(config)
    step.begin(measurements, arm.stand())
    for corner in ((0.3, -0.2, 0.1), (0.3, 0.4, 0.1), (0.7, 0.4, 0.5), (0.7, -0.2, 0.5)):
        arm.q[:3] = corner
        step.hear(arm.stand().q)
    box = step.choices["enter"].conclude(measurements, arm.stand()).boxes["arm"]
    np.testing.assert_allclose(box.lower, [0.32, -0.18, 0.12], atol=5 * NOISE)
    np.testing.assert_allclose(box.upper, [0.68, 0.38, 0.48], atol=5 * NOISE)
    assert box.floor == pytest.approx(0.12, abs=5 * NOISE)


def test_where_a_joint_was_beyond_its_limit_the_box_does_not_reach_and_the_joint_is_named():
    config, arm = given(safety=safety_config(lower=np.full(DOF, -0.5), upper=np.full(DOF, 0.5))), Guided(wired(2))
    measurements, step = find_map(config, arm), box_step(config)
    step.begin(measurements, arm.stand())
    for corner in ((-0.4, -0.4, -0.4), (0.4, 0.4, 0.4), (0.4, 0.9, 0.4)):
        arm.q[:3] = corner
        step.hear(arm.stand().q)
    after = step.choices["enter"].conclude(measurements, arm.stand())
    assert after.boxes["arm"].upper[1] == pytest.approx(0.38, abs=5 * NOISE)
    assert (
        "left out, beyond the limits of safety.position, 33% of the way: joint1 by 0.4"
        in after.done["workspace of arm"]
    )


def test_a_box_without_a_side_is_asked_for_again():
    config, arm = given(safety=safety_config(lower=np.full(DOF, -3.0), upper=np.full(DOF, 3.0))), Guided(wired(2))
    measurements, step = find_map(config, arm), box_step(config)
    step.begin(measurements, arm.stand())
    with pytest.raises(Unclear, match="never within its limits"):
        step.choices["enter"].conclude(measurements, arm.stand())
    for corner in ((0.3, -0.2, 0.1), (0.7, 0.4, 0.11)):
        arm.q[:3] = corner
        step.hear(arm.stand().q)
    with pytest.raises(Unclear, match="along z: guide it to top and bottom, too"):
        step.choices["enter"].conclude(measurements, arm.stand())


def test_another_joint_map_makes_a_box_void():
    config, arm = given(safety=safety_config(lower=np.full(DOF, -3.0), upper=np.full(DOF, 3.0))), Guided(wired(2))
    measurements, step = find_map(config, arm), box_step(config)
    step.begin(measurements, arm.stand())
    for corner in ((0.3, -0.2, 0.1), (0.7, 0.4, 0.5)):
        arm.q[:3] = corner
        step.hear(arm.stand().q)
    measurements = step.choices["enter"].conclude(measurements, arm.stand())
    again = PoseStep(config, POSE).choices["enter"].conclude(measurements, arm.stand())
    assert (again.boxes, "workspace of arm" in again.done) == ({}, False)


def test_a_gripper_is_measured_open_and_closed_and_must_have_moved():
    config, arm = given(arms=(ArmConfig("arm", tuple(f"joint{n}" for n in range(DOF)), "none"),)), Guided(wired(2))
    opened, closed = (GripperStep(config, 0, end, slice(0, 2)) for end in ("open", "closed"))
    measurements = opened.choices["enter"].conclude(Measurements(DOF), arm.stand((0.039, -0.0386)))
    with pytest.raises(Unclear, match=r"the fingers are at 0\.038, and were at 0\.0388 when open"):
        closed.choices["enter"].conclude(measurements, arm.stand((0.038, -0.038)))
    measurements = closed.choices["enter"].conclude(measurements, arm.stand((0.001, -0.001)))
    assert measurements.openings == {"arm.open": 0.0388, "arm.closed": 0.001}
