"""Each limiter alone."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from robot_bridge.limits import MotionLimiter, braking_velocity, limit_position, limit_step, limit_workspace

DT = 0.05
LOWER, UPPER = np.array([-1.0, -2.0]), np.array([1.5, -0.5])
VELOCITY, ACCELERATION = np.array([2.0, 1.0]), np.array([10.0, 4.0])


def test_the_workspace_is_a_box():
    np.testing.assert_array_equal(limit_workspace(np.array([2.0, -2.0, 0.1]), -np.ones(3), np.ones(3)), [1, -1, 0.1])


def test_a_step_is_at_most_a_step():
    np.testing.assert_array_equal(limit_step(np.array([5.0, 0.1]), np.zeros(2), np.array([0.2, 0.2])), [0.2, 0.1])


def test_positions_stay_in_range():
    np.testing.assert_array_equal(limit_position(np.array([5.0, -5.0]), LOWER, UPPER), [1.5, -2.0])


@given(distance=st.floats(0, 10), acceleration=st.floats(0.1, 50), dt=st.floats(0.001, 0.1))
def test_braking_from_the_braking_velocity_ends_exactly_at_the_distance(
    distance: float, acceleration: float, dt: float
):
    speed = float(braking_velocity(np.array(distance), np.array(acceleration), dt))
    travelled = 0.0
    while speed > 0:
        travelled += speed * dt
        speed -= acceleration * dt
    assert np.isclose(travelled, distance, rtol=1e-9, atol=1e-12)


def test_there_is_no_braking_velocity_beyond_the_limit():
    assert braking_velocity(np.array(-1.0), np.array(1.0), DT) == 0


@given(start=st.tuples(st.floats(-1, 1.5), st.floats(-2, -0.5)), seed=st.integers(0, 2**32), speed=st.floats(0.05, 1))
def test_no_target_leads_out_of_position_velocity_or_acceleration_limits(start, seed: int, speed: float):
    rng = np.random.default_rng(seed)
    motion = MotionLimiter(np.array(start), LOWER, UPPER, VELOCITY, ACCELERATION, DT)
    path = [np.array(start), np.array(start)]
    for _ in range(40):
        wish = rng.choice([path[-1] + rng.normal(0, 0.1, 2), rng.uniform(-9, 9, 2), rng.choice([-1e9, 1e9], 2)])
        path.append(motion.brake() if rng.random() < 0.1 else motion.follow(wish, speed))
    assert_inside_limits(np.array(path))


def assert_inside_limits(path: np.ndarray) -> None:
    velocity = np.diff(path, axis=0) / DT
    acceleration = np.diff(velocity, axis=0) / DT
    assert (path >= LOWER - 1e-9).all()
    assert (path <= UPPER + 1e-9).all()
    assert (np.abs(velocity) <= VELOCITY + 1e-9).all()
    assert (np.abs(acceleration) <= ACCELERATION + 1e-6).all()


@given(target=st.tuples(st.floats(-1, 1.5), st.floats(-2, -0.5)))
@settings(max_examples=40)
def test_a_standing_target_is_reached_without_overshoot(target):
    start, goal = np.array([0.2, -1.0]), np.array(target)
    motion = MotionLimiter(start, LOWER, UPPER, VELOCITY, ACCELERATION, DT)
    path = np.array([motion.follow(goal) for _ in range(120)])
    np.testing.assert_allclose(path[-1], goal, atol=1e-9)
    assert (np.abs(path - goal).max(axis=0) <= np.abs(start - goal) + 1e-9).all()


def test_a_smooth_path_inside_the_limits_is_followed_exactly():
    times = np.arange(0, 4, DT)
    path = np.stack([0.3 * (1 - np.cos(times)), -1 + 0.2 * np.sin(times) * np.minimum(times, 1)], axis=1)
    motion = MotionLimiter(path[0], LOWER, UPPER, VELOCITY, ACCELERATION, DT)
    followed = np.array([motion.follow(point) for point in path])
    np.testing.assert_allclose(followed[5:], path[5:], atol=2e-3)


def test_a_joint_outside_its_range_may_only_come_back():
    motion = MotionLimiter(np.array([2.0, -1.0]), LOWER, UPPER, VELOCITY, ACCELERATION, DT)
    positions = [2.0] + [float(motion.follow(np.array([5.0, -1.0]))[0]) for _ in range(5)]
    assert positions == [2.0] * 6
    positions = [float(motion.follow(np.array([0.0, -1.0]))[0]) for _ in range(60)]
    assert (np.diff(positions) <= 0).all()
    assert np.isclose(positions[-1], 0.0)
