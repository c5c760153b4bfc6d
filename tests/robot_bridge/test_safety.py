"""The safety filter: whatever comes in, what goes out is inside the limits, and a stop stays a stop."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robot_bridge.safety import Command, Mode, SafetyFilter
from tests.robot_bridge.arms import DOF, LinearArm, joint_map, safety_config

DT = 0.05


def make_filter(**changes) -> SafetyFilter:
    return SafetyFilter(safety_config(**changes), joint_map(), DT, np.zeros(DOF), LinearArm())


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
    assert np.isfinite(q).all()
    assert (q >= config.lower + config.margin - 1e-9).all()
    assert (q <= config.upper - config.margin + 1e-9).all()
    assert (np.abs(velocity) <= config.velocity + 1e-9).all()
    assert (np.abs(acceleration) <= config.acceleration + 1e-6).all()


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
    safety = SafetyFilter(safety_config(), tight, DT, np.zeros(DOF), LinearArm())
    assert drive(safety, np.full(DOF, 0.4), 60)[-1].q_real.max() <= 0.2 - safety_config().margin + 1e-9
