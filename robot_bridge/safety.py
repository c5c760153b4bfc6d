"""The safety filter between policy and motor: the chain of design.md section 8. It is always on.

What a policy asks for passes shape and finiteness check, expiry, workspace box, per-step change, joint positions,
velocity and acceleration, in this order; then the joint map; and the watchdog decides whether it is followed at all:

    running   a fresh action came within ``hold_after``
    holding   it did not: the arm brakes and holds its position, and goes on when fresh actions come
    stopped   latched, with a reason; only a person's ``reset`` ends it
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

import numpy as np

from robot_bridge.config import SafetyConfig
from robot_bridge.joint_map import JointMap
from robot_bridge.limits import MotionLimiter, limit_position, limit_step, limit_workspace

TOLERANCE = 1e-6
"""A change smaller than this (m, rad) is rounding and not counted as an intervention."""


class Mode(Enum):
    """What the filter lets through."""

    RUNNING = "running"
    HOLDING = "holding"
    STOPPED = "stopped"


class Poses(Protocol):
    """What the workspace box needs of an arm's kinematics. Positions (3,) m in the base frame, joints (n,) rad."""

    def position(self, q: np.ndarray) -> np.ndarray: ...

    def joints_at(self, position: np.ndarray, q: np.ndarray) -> np.ndarray:
        """Joints near ``q`` that bring the end effector to ``position`` with its orientation at ``q``."""
        ...


class Watchdog:
    """Decides between running, holding and stopped. All times are monotonic seconds."""

    def __init__(self, hold_after: float, stop_after: float, on_event: Callable[[str, str], None]):
        self._hold_after, self._stop_after, self._on_event = hold_after, stop_after, on_event
        self._fresh_at: float | None = None
        self._held = False
        self.mode = Mode.HOLDING
        self.reason = "no action yet"

    def fresh(self, now: float) -> None:
        """A fresh action has come."""
        self._fresh_at = now

    def stop(self, reason: str) -> None:
        """Latches; the first reason stays."""
        if self.mode is not Mode.STOPPED:
            self._enter(Mode.STOPPED, reason)

    def hold(self, reason: str) -> None:
        """Holds, fresh actions or not, until ``release``."""
        self._held = True
        if self.mode is Mode.RUNNING:
            self._enter(Mode.HOLDING, reason)

    def release(self) -> None:
        """Ends a hold by ``hold``."""
        self._held = False

    def reset(self) -> None:
        """By a person only. Holds until the next fresh action."""
        if self.mode is Mode.STOPPED:
            self._fresh_at, self._held = None, False
            self._enter(Mode.HOLDING, "reset by a person")

    def check(self, now: float) -> Mode:
        """The mode at ``now``."""
        if self.mode is Mode.STOPPED or self._fresh_at is None:
            return self.mode
        silent = now - self._fresh_at
        if silent > self._stop_after:
            self.stop(f"no fresh action for {self._stop_after:g} s")
        elif silent > self._hold_after and self.mode is Mode.RUNNING:
            self._enter(Mode.HOLDING, f"no fresh action for {self._hold_after:g} s")
        elif silent <= self._hold_after and self.mode is Mode.HOLDING and not self._held:
            self._enter(Mode.RUNNING, "fresh action")
        return self.mode

    def _enter(self, mode: Mode, reason: str) -> None:
        self.mode, self.reason = mode, reason
        self._on_event(mode.value, reason)


@dataclass(frozen=True)
class Command:
    """What leaves the filter: joint targets in both orders, and what was allowed to lead there."""

    q_sim: np.ndarray
    q_real: np.ndarray
    mode: Mode


class SafetyFilter:
    """The whole chain for one arm, called once a control period with whatever is wished at that time.

    ``on_event(kind, text)`` hears of every change of mode and every intervention; ``interventions`` counts them.
    ``reference`` (real_dof,), robot's unit, is where joints of the robot stay that the joint map does not name.
    """

    def __init__(
        self,
        config: SafetyConfig,
        joint_map: JointMap,
        dt: float,
        start: np.ndarray,
        poses: Poses,
        on_event: Callable[[str, str], None] = lambda kind, text: None,
        reference: np.ndarray | None = None,
    ):
        self._reference = reference
        self._config, self._map, self._dt, self._poses, self._on_event = config, joint_map, dt, poses, on_event
        real_lower, real_upper = joint_map.sim_limits()
        self._hard_lower = np.maximum(config.lower, real_lower)
        self._hard_upper = np.minimum(config.upper, real_upper)
        self._lower, self._upper = self._hard_lower + config.margin, self._hard_upper - config.margin
        self.interventions: Counter[str] = Counter()
        self.watchdog = Watchdog(config.hold_after, config.stop_after, on_event)
        self._started: float | None = None
        self._restart(start)

    @property
    def q(self) -> np.ndarray:
        """The last command, simulator order (n,) rad."""
        return self._motion.position.copy()

    def check_action(self, action: np.ndarray, width: int, observed_at: float, now: float) -> bool:
        """First two links: shape and finiteness, which stop the arm, and expiry, which only drops the action."""
        array = np.asarray(action)
        if array.shape != (width,) or array.dtype.kind not in "fiu" or not np.isfinite(array).all():
            self._intervene("bad_action", f"action of shape {array.shape} is not {width} finite numbers")
            self.watchdog.stop("the policy sent an action that is not finite or not of the right shape")
            return False
        if now - observed_at > self._config.action_expiry:
            self._intervene("expired", f"action of an observation {now - observed_at:.3f} s old")
            return False
        return True

    def check_robot(self, q: np.ndarray | None, dq: np.ndarray | None, age: float, fault: str) -> None:
        """Stops when the robot's state is lost, it reports a fault, or it is itself beyond its limits.

        ``q``, ``dq`` (n,) are measured, simulator order, rad and rad/s; ``age`` (s) is that of the measurement.
        """
        config = self._config
        if q is None or dq is None or age > config.state_timeout:
            self.watchdog.stop(f"no state from the robot for {config.state_timeout:g} s")
        elif fault:
            self.watchdog.stop(f"the robot reports: {fault}")
        elif not (np.isfinite(q).all() and np.isfinite(dq).all()):
            self.watchdog.stop("the robot's state is not finite")
        else:
            outside = (q < self._hard_lower - config.tolerance) | (q > self._hard_upper + config.tolerance)
            fast = np.abs(dq) > config.velocity * config.overspeed
            if outside.any():
                self.watchdog.stop(f"joint {int(np.argmax(outside))} of the robot is outside its position limits")
            elif fast.any():
                self.watchdog.stop(f"joint {int(np.argmax(fast))} of the robot is faster than its velocity limit")

    def command(self, wish: np.ndarray | None, now: float) -> Command:
        """The next command; ``wish`` is a joint target (n,) rad, simulator order, or None when there is none.

        A wish that is not finite stops the arm like an action that is not.
        """
        if wish is not None and not (np.shape(wish) == self._lower.shape and np.isfinite(wish).all()):
            self._intervene("bad_target", "a joint target is not finite")
            self.watchdog.stop("a joint target is not finite")
        mode = self.watchdog.check(now)
        if mode is not Mode.RUNNING:
            q = self._motion.brake()
        else:
            q = self._motion.follow(self._limit(wish) if wish is not None else self.q, self._speed(now))
            if wish is not None:
                self._note("velocity", q, wish)
        return Command(q, self._map.to_real(q, self._reference), mode)

    def reset(self, measured: np.ndarray, reference: np.ndarray | None = None) -> None:
        """By a person only: ends a stop, from where the arm is, with a new soft start."""
        self._reference = reference
        self.watchdog.reset()
        self._restart(measured)

    def _limit(self, wish: np.ndarray) -> np.ndarray:
        config = self._config
        position = self._poses.position(wish)
        allowed = limit_workspace(position, config.workspace_lower, config.workspace_upper)
        if self._note("workspace", allowed, position):
            wish = self._poses.joints_at(allowed, wish)
        stepped = limit_step(wish, self._motion.position, config.step)
        self._note("step", stepped, wish)
        limited = limit_position(stepped, self._lower, self._upper)
        self._note("position", limited, stepped)
        return limited

    def _speed(self, now: float) -> float:
        if self._started is None:
            self._started = now
        config = self._config
        progress = (now - self._started) / config.soft_start_seconds if config.soft_start_seconds else 1.0
        return float(np.clip(config.soft_start_from + (1 - config.soft_start_from) * progress, 0.0, 1.0))

    def _restart(self, start: np.ndarray) -> None:
        config = self._config
        self._motion = MotionLimiter(start, self._lower, self._upper, config.velocity, config.acceleration, self._dt)
        self._started = None

    def _note(self, kind: str, allowed: np.ndarray, wished: np.ndarray) -> bool:
        change = float(np.abs(allowed - wished).max())
        if change <= TOLERANCE:
            return False
        self._intervene(kind, f"changed by {change:.4g}")
        return True

    def _intervene(self, kind: str, text: str) -> None:
        self.interventions[kind] += 1
        self._on_event(f"limited_{kind}", text)
