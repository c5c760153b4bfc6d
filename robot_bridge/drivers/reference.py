"""Where a driver's servo should be at any time: targets of 20 Hz made continuous, braked when they cease.

Rules 1, 4 and 6 of docs/robot_protocol.md, and what it says about stopping, for drivers written in Python.
"""

import numpy as np

from robot_bridge.drivers.protocol import Target

AT_REST = 0.01
"""Rad/s of the fastest joint, below which an arm stands."""


class Reference:
    """Joint positions (n,) rad and velocities (n,) rad/s for the servo of an arm that stands at ``q``.

    A target is gone to in a straight line within ``period`` (s), no joint faster than ``velocity`` (rad/s, (n,)). When
    the next does not come the movement goes on and slows down at ``braking`` (rad/s^2, of the fastest joint). Once
    nobody drives, or a braking ramp of the loop is over, the arm rests where it then is. Times are the driver's own, s.
    """

    def __init__(self, q: np.ndarray, period: float, velocity: np.ndarray, braking: float):
        self._period, self._velocity, self._braking = period, velocity, braking
        self._start, self._speed, self._since = q.copy(), np.zeros(len(q)), -np.inf
        self._ramp: np.ndarray | None = None  # the last target, if it was one with stop
        self._settling = False
        self._refuses_ramps = False
        self.resting = True
        """Whether the arm is to hold by its own means: it stands and is told nothing."""

    def follow(self, target: Target, now: float, measured: np.ndarray) -> None:
        """Takes a target; one with ``stop`` is a point of the loop's braking ramp. ``measured`` is where the arm is."""
        if not target.stop:
            self._refuses_ramps = False
        elif self._refuses_ramps:
            return
        ended = target.stop and self._ramp is not None and np.array_equal(target.q, self._ramp)
        self._ramp = target.q if target.stop else None
        if ended:
            self._settling = self._settling or not self.resting
            return
        self._start = measured.copy() if self.resting else self.at(now)[0]
        speed = (target.q - self._start) / self._period
        self._speed = speed / max(1.0, float((np.abs(speed) / self._velocity).max()))
        self._since = now
        self._settling = self.resting = False

    def lose(self) -> None:
        """Nobody drives any more: the arm rests as soon as it stands."""
        self._settling = not self.resting

    def abandon(self) -> None:
        """The arm stopped itself: it rests, and nothing moves it before the loop, too, was reset by a person."""
        self._settling, self._refuses_ramps, self.resting, self._ramp = False, True, True, None

    def at(self, now: float) -> tuple[np.ndarray, np.ndarray]:
        """Position and velocity for the servo."""
        passed = now - self._since
        if passed <= self._period:
            return self._start + self._speed * passed, self._speed
        stops = float(np.abs(self._speed).max()) / self._braking
        over = min(passed - self._period, stops)
        if stops == 0.0:
            return self._start, self._speed
        way = self._period + over - over**2 / (2 * stops)
        return self._start + self._speed * way, self._speed * (1 - over / stops)

    def settle(self, now: float, measured_speed: np.ndarray) -> None:
        """Once an arm that is to rest stands, it does: a joint that could not follow is pushed no more."""
        still = not self.at(now)[1].any() and float(np.abs(measured_speed).max()) < AT_REST
        if self._settling and still:
            self._settling, self.resting = False, True
