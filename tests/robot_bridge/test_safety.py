"""The safety filter: whatever comes in, what goes out is inside the limits, and a stop stays a stop."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.joint_map import JointMap
from robot_bridge.safety import Command, HandPose, Limb, Mode, SafetyFilter
from tests.robot_bridge.arms import DOF, LinearArm, joint_map, safety_config

DT = 0.05


def make_filter(**changes) -> SafetyFilter:
    return SafetyFilter(safety_config(**changes), joint_map(), DT, np.zeros(DOF), [Limb(LinearArm())])


def wild_wish(rng: np.random.Generator, q: np.ndarray) -> np.ndarray | None:
    """What a policy might come up with: silence, near and far places, jumps, and what is no number at all."""
    kind = rng.integers(7)
    if kind == 0:
        return None
    wish = q + rng.normal(0, rng.choice([0.01, 0.3, 5.0]), DOF)
    if kind == 1:
        wish = rng.choice([-1e9, 1e9, 1e300, -1e300], DOF)
    elif kind == 2 and rng.random() < 0.1:
        wish[rng.integers(DOF)] = rng.choice([np.nan, np.inf, -np.inf])
    return wish


@given(seed=st.integers(0, 2**32))
@settings(max_examples=100)
def test_whatever_is_wished_the_commands_stay_inside_every_limit(seed: int):
    rng = np.random.default_rng(seed)
    config = safety_config()
    safety = make_filter()
    now = 100.0
    path = [np.zeros(DOF), np.zeros(DOF)]
    for _ in range(80):
        now += rng.choice([DT, DT, DT, rng.uniform(0, 0.3), rng.uniform(0, 3)])  # jitter, and a machine that stalls
        if rng.random() < 0.8:
            safety.watchdog.fresh(now)
        if rng.random() < 0.02:
            safety.watchdog.stop("test")
        if rng.random() < 0.1 and np.array_equal(path[-1], path[-2]):  # at rest an arm is where it was commanded
            safety.reset(path[-1])
        command = safety.command(wild_wish(rng, path[-1]), now)
        np.testing.assert_allclose(command.q_real, joint_map().to_real(command.q_sim))
        path.append(command.q_sim)
    q = np.array(path)
    velocity = np.diff(q, axis=0) / DT
    acceleration = np.diff(velocity, axis=0) / DT
    jerk = np.diff(acceleration, axis=0) / DT
    assert np.isfinite(q).all()
    assert (q >= config.lower + config.margin - 1e-9).all()
    assert (q <= config.upper - config.margin + 1e-9).all()
    assert (np.abs(velocity) <= config.velocity + 1e-9).all()
    assert (np.abs(acceleration) <= config.acceleration + 1e-6).all()
    assert (np.abs(jerk) <= config.jerk * (1 + 1e-6)).all()


def drive(safety: SafetyFilter, wish: np.ndarray, ticks: int, now: float = 0.0) -> list[Command]:
    commands = []
    for tick in range(ticks):
        safety.watchdog.fresh(now + tick * DT)
        commands.append(safety.command(wish, now + tick * DT))
    return commands


def test_a_wish_inside_the_limits_is_reached():
    wish = np.full(DOF, 0.3)
    commands = drive(make_filter(), wish, 60)
    np.testing.assert_allclose(commands[-1].q_sim, wish, atol=1e-6)
    assert commands[-1].mode is Mode.RUNNING


def test_the_workspace_box_holds_the_end_effector():
    safety = make_filter()
    commands = drive(safety, np.full(DOF, 0.9), 100)
    assert commands[-1].q_sim[:3].max() <= 0.5 + 1e-9
    assert commands[-1].q_sim[3:].min() > 0.8
    assert safety.interventions["workspace"] > 0


def test_a_pose_of_the_hand_is_reached_and_kept_inside_the_box():
    wish = HandPose(np.array([0.3, -0.2, 0.54]), np.eye(3), near=np.zeros(DOF))
    safety = make_filter()
    commands = drive(safety, wish, 80)
    np.testing.assert_allclose(commands[-1].q_sim[:2], [0.3, -0.2], atol=1e-6)
    assert 0.49 < commands[-1].q_sim[2] <= 0.5
    assert safety.interventions["workspace"] == 80


class LyingArm(LinearArm):
    """Inverse kinematics that misses, or that jumps."""

    def __init__(self, miss: float, jump: float):
        self._miss, self._jump = miss, jump

    def solve(self, position, rotation, q, lower, upper) -> np.ndarray:
        return np.concatenate([position + self._miss, q[3:] + self._jump])


@pytest.mark.parametrize(
    ("miss", "jump", "believed"), [(0, 0, True), (0.004, 0.4, True), (0.006, 0, False), (0, 0.8, False)]
)
def test_an_answer_of_inverse_kinematics_that_misses_or_jumps_is_refused(miss: float, jump: float, believed: bool):
    safety = SafetyFilter(safety_config(), joint_map(), DT, np.zeros(DOF), [Limb(LyingArm(miss, jump))])
    commands = drive(safety, HandPose(np.array([0.02, 0, 0]), np.eye(3), near=np.zeros(DOF)), 20)
    assert (np.abs(commands[-1].q_sim).max() > 0) == believed
    assert safety.interventions["unreachable"] == (0 if believed else 20)
    assert commands[-1].mode is Mode.RUNNING


def test_an_arm_that_moves_brakes_when_inverse_kinematics_fails():
    safety = SafetyFilter(safety_config(), joint_map(), DT, np.zeros(DOF), [Limb(LyingArm(0.1, 0))])
    moving = drive(safety, np.full(DOF, 0.45), 8)
    ends = safety.braking[-1]
    held = drive(safety, HandPose(np.zeros(3), np.eye(3), near=np.zeros(DOF)), 20, now=8 * DT)
    assert (held[0].q_sim > moving[-1].q_sim).all()
    np.testing.assert_array_equal(held[-1].q_sim, held[-2].q_sim)
    assert (held[-1].q_sim <= ends + 1e-9).all()


def test_every_kind_of_intervention_has_its_own_count():
    safety = make_filter(soft_start_seconds=0.0)
    drive(safety, np.full(DOF, 0.9), 100)
    assert {"workspace", "step", "velocity", "acceleration", "jerk"} <= set(safety.interventions)
    drive(safety, np.full(DOF, 5.0), 2, now=100 * DT)
    assert safety.interventions["position"] == 2


def test_a_reset_is_refused_until_the_arm_stands():
    safety = make_filter()
    drive(safety, np.full(DOF, 0.4), 8)
    safety.watchdog.stop("test")
    assert not safety.reset(safety.q)
    assert safety.watchdog.mode is Mode.STOPPED
    for tick in range(20):
        safety.command(None, 1 + tick * DT)
    assert safety.at_rest
    assert safety.reset(safety.q)
    assert safety.watchdog.mode is Mode.HOLDING


def test_a_joint_that_the_robot_does_not_have_stays_where_it_is():
    without_the_last = JointMap.from_config(
        {"apply_sim_to_real_map": True, "real_dof": 6, "sim_to_real_idx": [0, 1, 2, 3, 4, 5, -1]}, DOF
    )
    start = np.append(np.zeros(6), 3.0)  # wherever that is
    safety = SafetyFilter(safety_config(), without_the_last, DT, start, [Limb(LinearArm())])
    for wish in (np.full(DOF, 0.3), HandPose(np.full(3, -0.1), np.eye(3), near=np.full(DOF, 0.3))):
        commands = drive(safety, wish, 40)
        assert all(command.q_sim[6] == 3.0 for command in commands)
        np.testing.assert_allclose(commands[-1].q_sim[:3], -0.1 if isinstance(wish, HandPose) else 0.3, atol=1e-6)


def test_an_arm_that_was_left_outside_its_range_is_stopped_until_a_person_lets_it_come_back():
    start = np.eye(DOF)[3] * 1.6  # its range ends at 1.3
    safety = SafetyFilter(safety_config(), joint_map(), DT, start, [Limb(LinearArm())])
    safety.check_robot(start, np.zeros(DOF), 0.0, "")
    assert "joint 3 of the robot is outside" in safety.watchdog.reason
    safety.command(None, 0.0)
    assert safety.reset(start)
    safety.check_robot(start, np.zeros(DOF), 0.0, "")
    assert safety.watchdog.mode is Mode.HOLDING
    further = drive(safety, start + 0.2, 20)
    assert max(command.q_sim[3] for command in further) == 1.6
    back = [command.q_sim[3] for command in drive(safety, np.zeros(DOF), 80, now=20 * DT)]
    assert (np.diff(back) <= 1e-12).all()
    assert back[-1] == pytest.approx(0, abs=1e-6)
    safety.check_robot(start + np.eye(DOF)[3] * 0.1, np.zeros(DOF), 0.0, "")
    assert safety.watchdog.mode is Mode.STOPPED


def test_an_arm_that_was_left_outside_the_box_comes_back_and_is_reported():
    events = []
    start = np.eye(DOF)[0] * 0.8
    safety = SafetyFilter(
        safety_config(), joint_map(), DT, start, [Limb(LinearArm())], lambda kind, text: events.append((kind, text))
    )
    assert events == [("outside", "the arm starts 0.300 m outside its workspace; it may only come back")]
    path = [command.q_sim[0] for command in drive(safety, HandPose(start[:3], np.eye(3), near=start), 80)]
    assert (np.diff(path) <= 1e-12).all()
    assert path[-1] <= 0.76  # a wish for the hand is moved by 5 cm at a time
    path = [command.q_sim[0] for command in drive(safety, np.zeros(DOF), 80, now=80 * DT)]
    assert path[-1] == pytest.approx(0, abs=1e-6)
    path = [command.q_sim[0] for command in drive(safety, start, 80, now=160 * DT)]
    assert max(path) <= 0.5 + 1e-9


def test_the_first_moves_are_slow():
    safety = make_filter(soft_start_seconds=10.0, soft_start_from=0.1)
    commands = drive(safety, np.full(DOF, 0.4), 20)
    speed = np.diff([command.q_sim for command in commands], axis=0) / DT
    assert (np.abs(speed) <= safety_config().velocity * 0.2).all()


@pytest.mark.parametrize("action", [np.full(7, np.nan), np.full(7, np.inf), np.zeros(6), np.zeros((1, 7)), ["a"] * 7])
def test_a_malformed_action_stops_and_latches(action):
    safety = make_filter()
    drive(safety, np.zeros(DOF), 3)
    assert not safety.check_action(action, 7, observed_at=0.2, now=0.2)
    safety.watchdog.fresh(0.2)
    assert safety.command(np.zeros(DOF), 0.2).mode is Mode.STOPPED
    assert "not finite" in safety.watchdog.reason


@pytest.mark.parametrize(
    "wish",
    [
        np.full(DOF, np.nan),
        np.zeros(3),
        HandPose(np.array([0, np.inf, 0]), np.eye(3), np.zeros(DOF)),
        HandPose(np.zeros(3), np.full((3, 3), np.nan), np.zeros(DOF)),
    ],
)
def test_a_wish_that_is_not_finite_stops_and_latches(wish):
    safety = make_filter()
    drive(safety, np.zeros(DOF), 3)
    assert drive(safety, wish, 1, now=3 * DT)[0].mode is Mode.STOPPED
    assert safety.watchdog.reason == "a target is not finite"
    assert safety.interventions["bad_target"] == 1


def test_a_stale_action_is_never_executed():
    safety = make_filter(action_expiry=0.5)
    assert safety.check_action(np.zeros(7), 7, observed_at=1.0, now=1.4)
    assert not safety.check_action(np.zeros(7), 7, observed_at=1.0, now=1.6)
    assert safety.interventions == {"expired": 1}
    assert safety.watchdog.mode is not Mode.STOPPED


def test_silence_holds_then_stops_for_good():
    safety = make_filter(hold_after=0.5, stop_after=2.0)
    commands = drive(safety, np.full(DOF, 0.4), 4)
    assert commands[-1].mode is Mode.RUNNING
    last_fresh = 3 * DT
    assert safety.command(None, last_fresh + 0.49).mode is Mode.RUNNING
    assert safety.command(None, last_fresh + 0.51).mode is Mode.HOLDING
    still = [safety.command(np.full(DOF, 0.4), last_fresh + 0.6 + tick * DT).q_sim for tick in range(20)]
    np.testing.assert_array_equal(still[-1], still[-2])
    assert safety.command(None, last_fresh + 2.01).mode is Mode.STOPPED
    safety.watchdog.fresh(last_fresh + 2.05)
    assert safety.command(np.full(DOF, 0.4), last_fresh + 2.05).mode is Mode.STOPPED
    safety.reset(safety.q)
    safety.watchdog.fresh(last_fresh + 2.1)
    assert safety.command(np.full(DOF, 0.4), last_fresh + 2.1).mode is Mode.RUNNING


def test_a_hold_ends_by_itself_when_actions_come_again():
    safety = make_filter()
    drive(safety, np.zeros(DOF), 2)
    assert safety.command(None, 1.0).mode is Mode.HOLDING
    safety.watchdog.fresh(1.1)
    assert safety.command(np.zeros(DOF), 1.1).mode is Mode.RUNNING


def test_nothing_moves_before_the_first_action():
    safety = make_filter()
    for tick in range(100):
        command = safety.command(np.full(DOF, 0.3), tick * DT)
        assert command.mode is Mode.HOLDING
        np.testing.assert_array_equal(command.q_sim, np.zeros(DOF))


ROBOT_TROUBLE = {
    "no state": (None, None, 0.0, ""),
    "no state from the robot": (np.zeros(DOF), np.zeros(DOF), 1.0, ""),
    "reports: motor hot": (np.zeros(DOF), np.zeros(DOF), 0.0, "motor hot"),
    "state is not finite": (np.full(DOF, np.nan), np.zeros(DOF), 0.0, ""),
    "joint 2 of the robot is outside": (np.eye(DOF)[2] * 1.5, np.zeros(DOF), 0.0, ""),
    "joint 4 of the robot is faster": (np.zeros(DOF), np.eye(DOF)[4] * 9.0, 0.0, ""),
}


@pytest.mark.parametrize("reason", ROBOT_TROUBLE)
def test_trouble_with_the_robot_stops(reason: str):
    safety = make_filter()
    safety.check_robot(np.zeros(DOF), np.zeros(DOF), 0.0, "")
    assert safety.watchdog.mode is not Mode.STOPPED
    safety.check_robot(*ROBOT_TROUBLE[reason])
    assert safety.watchdog.mode is Mode.STOPPED
    assert reason in safety.watchdog.reason


def test_the_first_reason_stays():
    safety = make_filter()
    safety.watchdog.stop("the operator's key")
    safety.watchdog.stop("something else")
    assert safety.watchdog.reason == "the operator's key"


def test_the_tighter_of_both_position_limits_counts():
    tight = joint_map().__class__.from_config(
        {
            "apply_sim_to_real_map": True,
            "real_dof": DOF,
            "sim_to_real_idx": list(range(DOF)),
            "limits": [[-0.2, 0.2]] * DOF,
        },
        DOF,
    )
    safety = SafetyFilter(safety_config(), tight, DT, np.zeros(DOF), [Limb(LinearArm())])
    assert drive(safety, np.full(DOF, 0.4), 60)[-1].q_real.max() <= 0.2 - safety_config().margin + 1e-9
