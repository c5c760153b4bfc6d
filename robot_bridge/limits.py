"""The limiters between a wish and a motor: each small, each with its unit, each tested on its own.

Together they keep every command inside position, velocity and acceleration limits whatever the wishes are. A joint's
commands are positions q_k (rad) one control period dt (s) apart, with v_k = (q_k - q_{k-1}) / dt and
a_k = (v_k - v_{k-1}) / dt.
"""

import numpy as np


def limit_workspace(position: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> np.ndarray:
    """End-effector position (3,) m, robot base frame, moved to the nearest point of the box."""
    return np.clip(position, lower, upper)


def limit_step(target: np.ndarray, previous: np.ndarray, step: np.ndarray) -> np.ndarray:
    """Joint target (n,) rad at most ``step`` (n,) rad from the previous command."""
    return np.clip(target, previous - step, previous + step)


def limit_position(target: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> np.ndarray:
    """Joint target (n,) rad inside the joints' range."""
    return np.clip(target, lower, upper)


def braking_velocity(distance: np.ndarray, acceleration: np.ndarray, dt: float) -> np.ndarray:
    """The greatest velocity (rad/s) from which a joint stops within ``distance`` (rad), the first step included.

    Exact in discrete time: with u = v / (a dt) and m = floor(u), stopping takes the steps u, u-1, ..., u-m, that is
    (m+1) u - m (m+1) / 2, in units of a dt^2. Zero for a distance that is not positive.
    """
    steps = np.maximum(distance, 0.0) / (acceleration * dt**2)
    m = np.floor((np.sqrt(1.0 + 8.0 * steps) - 1.0) / 2.0)
    return (steps + m * (m + 1.0) / 2.0) / (m + 1.0) * acceleration * dt


class MotionLimiter:
    """Follows targets as fast as position, velocity and acceleration limits allow, and never beyond.

    It never takes up a velocity from which it could not stop before a position limit, so the three limits cannot
    contradict each other. A joint that starts outside its range may only move inwards. All arrays are (n,).
    """

    def __init__(
        self,
        start: np.ndarray,
        lower: np.ndarray,
        upper: np.ndarray,
        velocity: np.ndarray,
        acceleration: np.ndarray,
        dt: float,
    ):
        self.position = np.array(start, np.float64)
        self.velocity = np.zeros_like(self.position)
        self._lower, self._upper = lower, upper
        self._max_velocity, self._max_acceleration, self._dt = velocity, acceleration, dt
        self._last_target: np.ndarray | None = None

    def follow(self, target: np.ndarray, speed: float = 1.0) -> np.ndarray:
        """The next command (rad) towards ``target`` (rad); ``speed`` in (0, 1] scales the velocity limit."""
        most = self._max_velocity * speed
        # A target that moves is met at its own velocity, one that stands is approached so as to stop on it.
        moving = np.zeros_like(target) if self._last_target is None else (target - self._last_target) / self._dt
        moving = np.clip(moving, -most, most)
        self._last_target = np.array(target)
        away = target - (self.position + moving * self._dt)
        return self._advance(
            moving + np.sign(away) * braking_velocity(np.abs(away), self._max_acceleration, self._dt), most
        )

    def brake(self) -> np.ndarray:
        """The next command of the fastest stop that is allowed; once at rest, the same position for ever."""
        self._last_target = None
        return self._advance(np.zeros_like(self.velocity), self._max_velocity)

    def _advance(self, wish: np.ndarray, most: np.ndarray) -> np.ndarray:
        acceleration, dt = self._max_acceleration, self._dt
        room_up = braking_velocity(self._upper - self.position, acceleration, dt)
        room_down = braking_velocity(self.position - self._lower, acceleration, dt)
        wish = np.clip(wish, -np.minimum(most, room_down), np.minimum(most, room_up))
        change = acceleration * dt
        self.velocity = np.clip(wish, self.velocity - change, self.velocity + change)
        moved = self.position + self.velocity * dt
        # Rounding in the last digit must not count as leaving the range.
        self.position = np.clip(moved, np.minimum(self._lower, self.position), np.maximum(self._upper, self.position))
        return self.position.copy()
