"""Position, velocity, acceleration and jerk limits, kept by always knowing how to stop.

A joint's commands are positions q_k (rad) one control period apart; velocity, acceleration and jerk are their first,
second and third differences. Each command is the first point of a plan that ends at rest, and a plan is taken up only
when all of it lies inside the limits and is admitted by whoever asks for more (the workspace box). So by induction:

    in the beginning the arm stands, and to stand still is a plan;
    from then on a command either begins a new plan, checked as a whole, or is the next point of the last one.

Whatever is wished, the way to stop was checked before the arm got there.

Ours rather than Ruckig's (time-optimal, 3 microseconds a plan): Ruckig bounds the derivatives of a continuous motion,
of which a robot at 20 Hz sees samples; it knows neither joint ranges nor a box, so the induction would be needed around
it all the same; and joints that are in motion already arrive together but not in proportion, which bends the path.
Here a plan is linear in the state, with the same coefficients for all joints: one number scales them alike.
"""

from collections.abc import Callable
from functools import lru_cache

import numpy as np

ROUNDING, DIGITS = 1e-10, 1e-14
"""What rounding may add: a share of a limit, or rad to a range; and rad to a difference of positions."""
LENGTHENED = (-1, 0, 1, 2, 4)
"""How many ticks longer than what is left of the last plan a new one may be, in the order they are tried."""
WORTH = 1.05
"""A longer plan is taken when it lets the next command go further by this."""
SHORTENED = (-8, -4, -2, -1)
"""The same for braking."""
SHARES = (1.0, 0.5, 0.25, 0.125)
"""How much of a step is tried before the last plan is followed instead."""


@lru_cache(maxsize=4096)
def stopping(ticks: int) -> np.ndarray:
    """How a joint stops in ``ticks`` >= 2, with the control period as the unit of time: (4, ticks + 1, 4).

    Times (position, velocity, acceleration, jerk) now, that is the four of them now and at each later tick. It is the
    stop with the least sum of squared jerks: they fall linearly, u_k = x + y (ticks - k + 1), where x and y are such
    that the last velocity and the last acceleration are zero.
    """
    now = np.eye(4)
    left = np.arange(ticks, 0, -1.0)
    ends = np.stack([np.ones(ticks), left])  # what each jerk adds to the last acceleration and to the last velocity
    jerk = -ends.T @ np.linalg.solve(ends @ ends.T, np.stack([now[2], now[1] + ticks * now[2]]))
    acceleration = now[2] + np.cumsum(jerk, axis=0)
    velocity = now[1] + np.cumsum(acceleration, axis=0)
    position = now[0] + np.cumsum(velocity, axis=0)
    return np.concatenate([now[:, None], np.stack([position, velocity, acceleration, jerk])], axis=1)


class MotionLimiter:
    """Follows targets as fast as the limits allow, all joints in proportion, and never beyond.

    ``admits(path)`` is asked about every new plan: path (t, n) rad, from the present command to rest. A joint that
    starts outside its range may only come back. Arrays are (n,), limits in rad/s, rad/s^2, rad/s^3; ``dt`` (s) is the
    control period.
    """

    def __init__(
        self,
        start: np.ndarray,
        lower: np.ndarray,
        upper: np.ndarray,
        velocity: np.ndarray,
        acceleration: np.ndarray,
        jerk: np.ndarray,
        dt: float,
        admits: Callable[[np.ndarray], bool] = lambda path: True,
    ):
        self.position = np.array(start, np.float64)
        self.refused = False
        """Whether ``admits`` has refused the last step, or a part of it."""
        self.lower, self.upper = np.minimum(lower, start), np.maximum(upper, start)
        """The range (rad) that counts: the one asked for, and as far outside it as the arm still is."""
        self._admits = admits
        self._range = lower, upper
        self._limits = np.stack([velocity * dt, acceleration * dt**2, jerk * dt**3]) * (1 + ROUNDING) + DIGITS
        self._velocity, self._acceleration = np.zeros_like(self.position), np.zeros_like(self.position)
        self._rest = np.empty((0, len(self.position)))  # of the plan, after the present command
        self._last_target: np.ndarray | None = None
        self._last_motion = np.zeros_like(self.position)

    @property
    def plan(self) -> np.ndarray:
        """The present command and those that lead from it to rest, (t, n) rad."""
        return np.vstack([self.position, self._rest])

    @property
    def at_rest(self) -> bool:
        """Whether the arm stands, and will if nothing else is asked for."""
        return not len(self._rest) and not self._velocity.any()

    def exceeded(self, target: np.ndarray, speed: float = 1.0) -> list[str]:
        """Names of the limits that going to ``target`` (rad) within one period would break."""
        changes = np.abs(self._changes(target)) / [[speed], [1], [1]]
        names = ("velocity", "acceleration", "jerk")
        return [name for name, sizes, most in zip(names, changes, self._limits, strict=True) if (sizes > most).any()]

    def follow(self, target: np.ndarray, speed: float = 1.0) -> np.ndarray:
        """The next command (rad) towards ``target`` (rad); ``speed`` in (0, 1] scales the velocity limit.

        What is steered is where the arm would come to rest: on a target that stands; for one that moves, where the
        target would come to rest itself. So nothing overshoots, and a target that keeps the limits is met exactly.
        """
        wished = np.stack([target, *self._motion_of(target), np.zeros_like(target)])
        best, chosen = 0.0, None
        for ticks in self._lengths(LENGTHENED):
            plan, room = self._stop_in(ticks, speed)
            if (room < -DIGITS).any():
                continue
            law = stopping(ticks)
            goal = np.clip(law[0, -1] @ wished, self.lower, self.upper)
            response = law.sum(axis=2)[..., None]  # of all that follows, when the next command is moved by 1
            step = (goal - plan[0, -1]) / response[0, -1]
            share = _largest_share(response * step, room)
            size = share * float(np.abs(step).max())
            if share == 1 or size > best * WORTH:
                best, chosen = size, (plan[0], share * response[0] * step)
            if share == 1:
                break
        self.refused = False
        if chosen is not None:
            for share in SHARES:
                path = chosen[0] + share * chosen[1]
                if self._admits(np.vstack([self.position, path])):
                    return self._take(path)
                self.refused = True
        return self._take(self._rest)

    def brake(self) -> np.ndarray:
        """The next command of a stop, as short as can be found; once at rest, the same position for ever."""
        self._last_target, self._last_motion = None, np.zeros_like(self.position)
        for ticks in self._lengths(SHORTENED):
            if ticks >= len(self._rest) - 1:
                break
            plan, room = self._stop_in(ticks, 1.0)
            if (room >= -DIGITS).all() and self._admits(np.vstack([self.position, plan[0]])):
                return self._take(plan[0])
        return self._take(self._rest)

    def _lengths(self, differences: tuple[int, ...]) -> list[int]:
        left = len(self._rest) - 1
        return sorted({max(2, left + difference) for difference in differences})

    def _stop_in(self, ticks: int, speed: float) -> tuple[np.ndarray, np.ndarray]:
        """The next command as planned and then a stop in ``ticks``: position, velocity, acceleration and jerk
        (4, ticks + 1, n), and how much each may still grow and shrink (2, 4, ticks + 1, n)."""
        following = self._rest[0] if len(self._rest) else self.position
        plan = stopping(ticks) @ np.stack([following, *self._changes(following)])
        velocity, acceleration, jerk = self._limits
        most = np.stack([self.upper + ROUNDING, velocity * speed, acceleration, jerk])[:, None]
        least = np.stack([self.lower - ROUNDING, -velocity * speed, -acceleration, -jerk])[:, None]
        return plan, np.stack([most - plan, plan - least])

    def _changes(self, following: np.ndarray) -> np.ndarray:
        """Velocity, acceleration and jerk (3, n) per period if ``following`` (n,) is the next command."""
        velocity = following - self.position
        acceleration = velocity - self._velocity
        return np.stack([velocity, acceleration, acceleration - self._acceleration])

    def _motion_of(self, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Velocity and acceleration of the target per period, as far as an arm could move like that.

        Where it cannot, the target has jumped, and moves as fast as it did before or after, whichever is slower.
        """
        most, steepest, _ = self._limits
        before = self._last_motion
        motion = np.clip(target - self._last_target, -most, most) if self._last_target is not None else 0 * before
        self._last_target, self._last_motion = target.copy(), motion
        change = motion - before
        slower = np.where(motion * before > 0, np.sign(motion) * np.minimum(np.abs(motion), np.abs(before)), 0.0)
        smooth = np.abs(change) <= steepest
        return np.where(smooth, motion, slower), np.where(smooth, change, 0.0)

    def _take(self, path: np.ndarray) -> np.ndarray:
        """Follows the first point of ``path`` (t, n) and keeps the rest."""
        if len(path):
            self._velocity, self._acceleration, _ = self._changes(path[0])
            self.position, self._rest = path[0].copy(), path[1:]
        else:
            self._velocity, self._acceleration = np.zeros((2, len(self.position)))
        # What has come back into the range may not leave it again.
        self.lower = np.maximum(self.lower, np.minimum(self._range[0], self.plan.min(axis=0)))
        self.upper = np.minimum(self.upper, np.maximum(self._range[1], self.plan.max(axis=0)))
        return self.position.copy()


def _largest_share(step: np.ndarray, room: np.ndarray) -> float:
    """The largest part, up to 1, of ``step`` that fits into ``room`` (2, ...) to grow and to shrink."""
    room, size = np.maximum(0.0, np.where(step > 0, *room)), np.abs(step)
    return float(np.divide(room, size, out=np.ones_like(size), where=size > room).min())
