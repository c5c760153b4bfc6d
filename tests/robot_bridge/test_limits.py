"""The limiter alone: whatever the targets are, and whatever is refused, limits are kept and a way to stop is known."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from robot_bridge.limits import MotionLimiter, stopping

DT = 0.05
LOWER, UPPER = np.array([-1.0, -2.0]), np.array([1.5, -0.5])
VELOCITY, ACCELERATION, JERK = np.array([2.0, 1.0]), np.array([10.0, 4.0]), np.array([200.0, 80.0])


def limiter(start, **changes) -> MotionLimiter:
    return MotionLimiter(np.array(start, float), LOWER, UPPER, VELOCITY, ACCELERATION, JERK, DT, **changes)


def assert_inside_limits(path: np.ndarray) -> None:
    velocity = np.diff(path, axis=0) / DT
    acceleration = np.diff(velocity, axis=0) / DT
    jerk = np.diff(acceleration, axis=0) / DT
    assert (path >= LOWER - 1e-9).all()
    assert (path <= UPPER + 1e-9).all()
    assert (np.abs(velocity) <= VELOCITY * (1 + 1e-9)).all()
    assert (np.abs(acceleration) <= ACCELERATION * (1 + 1e-9)).all()
    assert (np.abs(jerk) <= JERK * (1 + 1e-9)).all()


@given(ticks=st.integers(2, 400), velocity=st.floats(-2, 2), acceleration=st.floats(-5, 5))
def test_a_stop_ends_at_rest_and_its_numbers_are_each_other_s_differences(
    ticks: int, velocity: float, acceleration: float
):
    position, speed, steepness, jerk = stopping(ticks) @ [0.3, velocity, acceleration, 0.0]
    assert (position[0], speed[0], steepness[0]) == (0.3, velocity, acceleration)
    np.testing.assert_allclose(np.diff(position), speed[1:], atol=1e-9)
    np.testing.assert_allclose(np.diff(speed), steepness[1:], atol=1e-9)
    np.testing.assert_allclose(np.diff(steepness), jerk[1:], atol=1e-9)
    np.testing.assert_allclose([speed[-1], steepness[-1]], 0, atol=1e-9)


@given(start=st.tuples(st.floats(-1, 1.5), st.floats(-2, -0.5)), seed=st.integers(0, 2**32), speed=st.floats(0.05, 1))
@settings(max_examples=50)
def test_no_target_leads_out_of_position_velocity_acceleration_or_jerk_limits(start, seed: int, speed: float):
    rng = np.random.default_rng(seed)
    motion = limiter(start, admits=lambda path: rng.random() < 0.8)
    path = [motion.position] * 3
    for _ in range(60):
        wish = rng.choice([path[-1] + rng.normal(0, 0.1, 2), rng.uniform(-9, 9, 2), rng.choice([-1e9, 1e9], 2)])
        path.append(motion.brake() if rng.random() < 0.1 else motion.follow(wish, speed))
        assert_inside_limits(np.vstack([*path[-3:-1], motion.plan, motion.plan[-1], motion.plan[-1], motion.plan[-1]]))


@given(seed=st.integers(0, 2**32))
@settings(max_examples=40)
def test_a_plan_that_is_not_admitted_is_never_followed(seed: int):
    """The arm may be anywhere that was admitted, and on the way from there to where it would have stopped."""
    rng = np.random.default_rng(seed)
    inside = rng.uniform(LOWER, UPPER)
    wall = inside + np.abs(rng.normal(0, 0.2, 2))
    motion = limiter(inside, admits=lambda path: bool((path <= wall).all()))
    goal = rng.uniform(LOWER, UPPER + 1)
    for tick in range(80):
        motion.follow(goal if tick % 20 < 15 else -goal)
        assert (motion.plan <= wall).all()


def test_what_is_refused_is_said():
    motion = limiter([0, -1], admits=lambda path: bool((path[:, 0] <= 0.05).all()))
    refused = [motion.refused for _ in range(20) if motion.follow(np.array([0.4, -1])) is not None]
    assert not refused[0]
    assert refused[-1]


@given(target=st.tuples(st.floats(-1, 1.5), st.floats(-2, -0.5)))
@settings(max_examples=40)
def test_a_standing_target_is_reached_without_overshoot(target):
    start, goal = np.array([0.2, -1.0]), np.array(target)
    motion = limiter(start)
    path = np.array([motion.follow(goal) for _ in range(120)])
    np.testing.assert_allclose(path[-1], goal, atol=1e-9)
    assert (np.abs(path - goal).max(axis=0) <= np.abs(start - goal) + 1e-9).all()


@given(target=st.tuples(st.floats(-1, 1.5), st.floats(-2, -0.5)))
@settings(max_examples=40)
def test_the_way_to_a_standing_target_is_straight(target):
    start, goal = np.array([0.2, -1.0]), np.array(target)
    assume(np.abs(goal - start).max() > 1e-3)
    motion = limiter(start)
    path = np.array([motion.follow(goal) if tick % 9 < 7 else motion.brake() for tick in range(100)])
    across = np.array([start[1] - goal[1], goal[0] - start[0]]) / np.linalg.norm(goal - start)
    assert np.abs((path - start) @ across).max() < 1e-9


def test_it_is_about_as_fast_as_the_limits_allow():
    start, goal = np.array([-0.5, -1.0]), np.array([1.3, -1.2])
    motion = limiter(start)
    path = np.array([motion.follow(goal) for _ in range(60)])
    arrived = (1 + int(np.argmax(np.abs(path - goal).max(axis=1) < 1e-3))) * DT
    fastest = 1.8 / 2.0 + 2.0 / 10.0  # at constant acceleration, without a limit to jerk
    assert 0.95 * fastest < arrived < 1.15 * fastest


def test_a_smooth_path_inside_the_limits_is_followed_exactly():
    times = np.arange(0, 4, DT)
    path = np.stack([0.3 * (1 - np.cos(times)), -1 + 0.2 * np.sin(times) * np.minimum(times, 1)], axis=1)
    motion = limiter(path[0])
    followed = np.array([motion.follow(point) for point in path])
    np.testing.assert_allclose(followed[5:], path[5:], atol=1e-6)


def test_a_target_that_jumps_is_not_taken_for_one_that_moves():
    motion = limiter([0, -1])
    for _ in range(5):
        motion.follow(np.array([0, -1.0]))
    path = np.array([motion.follow(np.array([0.1, -1.0])) for _ in range(30)])
    assert path[:, 0].max() <= 0.1 + 1e-9


def test_braking_takes_no_longer_than_the_limits_make_it():
    motion = limiter([-0.9, -1])
    while not motion.exceeded(motion.position + VELOCITY * DT * [1, 0]):
        motion.follow(np.array([1.5, -1]))
    for _ in range(12):
        motion.follow(np.array([1.5, -1]))
    velocity = 2.0
    ticks = 0
    while not motion.at_rest:
        motion.brake()
        ticks += 1
    assert ticks * DT <= 1.5 * velocity / ACCELERATION[0] + 3 * DT


def test_once_at_rest_it_stays_there():
    motion = limiter([0, -1])
    for _ in range(4):
        motion.follow(np.array([1.0, -0.6]))
    assert not motion.at_rest
    ends = motion.plan[-1]
    for _ in range(20):
        motion.brake()
    assert motion.at_rest
    np.testing.assert_array_equal(motion.brake(), motion.brake())
    assert (motion.position <= ends + 1e-9).all()


def test_the_limits_that_a_jump_would_break_are_named():
    motion = limiter([0, -1])
    assert motion.exceeded(np.array([0.02, -1])) == []
    assert motion.exceeded(np.array([0.05, -1])) == ["acceleration", "jerk"]
    assert motion.exceeded(np.array([0.02, -1]), speed=0.1) == ["velocity"]


def test_a_joint_outside_its_range_may_only_come_back():
    motion = limiter([2.0, -1.0])
    positions = [2.0] + [float(motion.follow(np.array([5.0, -1.0]))[0]) for _ in range(5)]
    assert positions == [2.0] * 6
    positions = [float(motion.follow(np.array([1.8, -1.0]))[0]) for _ in range(60)]
    assert (np.diff(positions) <= 0).all()
    positions = [float(motion.follow(np.array([2.0, -1.0]))[0]) for _ in range(60)]
    assert max(positions) <= 1.8 + 1e-9
    positions = [float(motion.follow(np.array([0.0, -1.0]))[0]) for _ in range(60)]
    assert (np.diff(positions) <= 1e-12).all()
    assert np.isclose(positions[-1], 0.0)
    assert max(float(motion.follow(np.array([5.0, -1.0]))[0]) for _ in range(60)) <= 1.5 + 1e-9


@pytest.mark.parametrize("dt", [0.1, 0.02, 0.005, 0.001])
def test_limits_hold_at_any_control_rate(dt: float):
    motion = MotionLimiter(np.zeros(2), -np.ones(2), np.ones(2), VELOCITY, ACCELERATION, JERK, dt)
    rng = np.random.default_rng(0)
    path, goal = [motion.position] * 3, np.zeros(2)
    for tick in range(1500):
        goal = rng.uniform(-1.5, 1.5, 2) if tick % 300 == 0 else goal
        path.append(motion.follow(goal))
    velocity, acceleration, jerk = (np.diff(np.array(path), order, axis=0) / dt**order for order in (1, 2, 3))
    assert (np.abs(velocity) <= VELOCITY * (1 + 1e-6)).all()
    assert (np.abs(acceleration) <= ACCELERATION * (1 + 1e-6)).all()
    assert (np.abs(jerk) <= JERK * (1 + 1e-6)).all()
    assert np.abs(velocity).max() > 0.3
