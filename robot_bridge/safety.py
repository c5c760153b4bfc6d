"""The safety filter between policy and motor: the chain of design.md section 8. It is always on.

What a policy asks for passes shape and finiteness check, expiry, workspace box and joint range; inverse kinematics,
whose answer is checked; velocity, step, acceleration and jerk limits; and a last look at the result, braking included.
Then comes the joint map; and the watchdog decides whether anything is followed at all:

    running   a fresh action came within ``hold_after``
    holding   it did not: the arm brakes and holds its position, and goes on when fresh actions come
    stopped   latched, with a reason; only a person's ``reset`` ends it
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

import numpy as np

from common.joint_map import JointMap
from robot_bridge.config import Box, SafetyConfig
from robot_bridge.limits import MotionLimiter
from robot_bridge.rotations import rotation_vector
from robot_bridge.separation import Separation
from robot_bridge.workspace import Body, Workspace

TOLERANCE = 1e-6
"""A change smaller than this (m, rad) is rounding and not counted as an intervention."""
REACHED, ALIGNED = 0.005, 0.05
"""Inverse kinematics is believed when its answer's pose is at most so far (m, rad) from the one that was asked for."""
JUMP, JUMP_PER_METRE = 0.5, 5.0
"""And no joint (rad) is further than that, and so much more per metre of the way, from where the search began."""
PULL = 0.05
"""m that a wish for the hand is moved into the box at a time: an arm that is far outside comes back step by step."""
HALVINGS = 8
"""Of the way to a wish beyond a wall, to find where the wall is."""


class Mode(Enum):
    """What the filter lets through."""

    RUNNING = "running"
    HOLDING = "holding"
    STOPPED = "stopped"


@dataclass(frozen=True)
class HandPose:
    """A wish for the end effector: position (3,) m and rotation (3, 3), base frame, and joints (n,) rad near it."""

    position: np.ndarray
    rotation: np.ndarray
    near: np.ndarray


class Poses(Body, Protocol):
    """What the filter needs of an arm's kinematics. Positions (3,) m in the base frame, joints (n,) rad."""

    def pose(self, q: np.ndarray) -> tuple[np.ndarray, np.ndarray]: ...

    def solve(
        self, position: np.ndarray, rotation: np.ndarray, q: np.ndarray, lower: np.ndarray, upper: np.ndarray
    ) -> np.ndarray:
        """Joints in a range, near ``q``, that should bring the end effector to a pose; need not be right."""
        ...


@dataclass(frozen=True)
class Limb:
    """An arm as a part of a robot: kinematics, which of the robot's joints are its, and its own box if it has one."""

    body: Poses
    joints: slice = field(default_factory=lambda: slice(None))
    box: Box | None = None


Wish = np.ndarray | HandPose | tuple[HandPose, ...]
"""A joint target (n,) rad of all joints, a pose of the only hand, or one of each."""


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
    """The whole chain for one robot, called once a control period with whatever is wished at that time.

    A robot of several ``limbs`` moves as one: what slows a joint slows all of them, and where one arm has to brake the
    others do; so they do where two would come too near each other. ``on_event(kind, text)`` hears of every change of
    mode and every intervention; ``interventions`` counts them. ``reference`` (real_dof,), robot's unit, is where joints
    of the robot stay that the joint map does not name.
    """

    def __init__(
        self,
        config: SafetyConfig,
        joint_map: JointMap,
        dt: float,
        start: np.ndarray,
        limbs: Sequence[Limb],
        on_event: Callable[[str, str], None] = lambda kind, text: None,
        reference: np.ndarray | None = None,
    ):
        self._reference = reference
        self._config, self._map, self._dt, self._limbs, self._on_event = config, joint_map, dt, limbs, on_event
        real_lower, real_upper = joint_map.sim_limits()
        self._hard_lower = np.maximum(config.lower, real_lower)
        self._hard_upper = np.minimum(config.upper, real_upper)
        self._lower, self._upper = self._hard_lower + config.margin, self._hard_upper - config.margin
        self._leave_lower, self._leave_upper = self._hard_lower, self._hard_upper
        self.interventions: Counter[str] = Counter()
        self.watchdog = Watchdog(config.hold_after, config.stop_after, on_event)
        self._started: float | None = None
        self._refusal = "", ""  # what a plan was refused for last, and how to say it
        self._restart(start)

    @property
    def q(self) -> np.ndarray:
        """The last command, simulator order (n,) rad."""
        return self._motion.position.copy()

    @property
    def at_rest(self) -> bool:
        """Whether the last command stands still, and braking would not move it either."""
        return self._motion.at_rest

    @property
    def braking(self) -> np.ndarray:
        """The commands (t, n) rad from the last one to rest, if the arm braked now."""
        return self._motion.plan

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
            outside = (q < self._leave_lower - config.tolerance) | (q > self._leave_upper + config.tolerance)
            fast = np.abs(dq) > config.velocity * config.overspeed
            if outside.any():
                self.watchdog.stop(f"joint {int(np.argmax(outside))} of the robot is outside its position limits")
            elif fast.any():
                self.watchdog.stop(f"joint {int(np.argmax(fast))} of the robot is faster than its velocity limit")

    def command(self, wish: Wish | None, now: float) -> Command:
        """The next command; None wishes for nothing.

        A wish that is not finite stops the arm like an action that is not.
        """
        if wish is not None and not self._is_sound(wish):
            self._intervene("bad_target", "a target is not finite")
            self.watchdog.stop("a target is not finite")
        mode = self.watchdog.check(now)
        target = self._target(wish) if mode is Mode.RUNNING and wish is not None else None
        q = self._motion.brake() if target is None else self._follow(target, self._speed(now))
        for limb, workspace in zip(self._limbs, self._workspaces, strict=True):
            workspace.settle(self._motion.plan[:, limb.joints])
        self._separation.settle(self._motion.plan)
        return Command(q, self._map.to_real(q, self._reference), mode)

    def reset(self, measured: np.ndarray, reference: np.ndarray | None = None) -> bool:
        """By a person only: ends a stop, from where the arm is, with a new soft start. Refused while it still brakes.

        Where the arm is outside its limits, this is the person's leave to come back from there.
        """
        if not self.at_rest:
            return False
        self._reference = reference
        self._leave_lower = np.minimum(self._hard_lower, measured)
        self._leave_upper = np.maximum(self._hard_upper, measured)
        self.watchdog.reset()
        self._restart(measured)
        return True

    def _is_sound(self, wish: Wish) -> bool:
        if isinstance(wish, np.ndarray):
            return wish.shape == self._lower.shape and bool(np.isfinite(wish).all())
        poses = _poses(wish)
        parts = [part for pose in poses for part in (pose.position, pose.rotation, pose.near)]
        return len(poses) == len(self._limbs) and all(np.isfinite(part).all() for part in parts)

    def _target(self, wish: Wish) -> np.ndarray | None:
        """The joints (n,) rad that the wish comes to once it lies in range and boxes; None where there are none."""
        lower, upper = self._motion.lower, self._motion.upper
        found: list[np.ndarray | None]
        if isinstance(wish, np.ndarray):
            joints = np.clip(wish, lower, upper)
            self._note("position", joints, wish)
            found = [self._keep(number, joints[limb.joints]) for number, limb in enumerate(self._limbs)]
        else:
            found = [self._reach(number, pose) for number, pose in enumerate(_poses(wish))]
        reached = [part for part in found if part is not None]
        return np.concatenate(reached) if len(reached) == len(found) else None

    def _reach(self, number: int, wish: HandPose) -> np.ndarray | None:
        """An arm's joints for a pose of its hand."""
        own = self._limbs[number].joints
        allowed = self._workspaces[number].nearest(wish.position, wish.rotation, PULL)
        self._note("workspace", allowed, wish.position)
        near = np.clip(wish.near, self._motion.lower[own], self._motion.upper[own])
        return self._joints_at(number, HandPose(allowed, wish.rotation, near))

    def _keep(self, number: int, joints: np.ndarray) -> np.ndarray:
        """An arm's joints where their hand is inside the box, else those for the nearest place inside.

        Where the arm cannot bring its hand there as it is turned, as one of five joints seldom can, it goes on as it
        was told up to the wall: it need not stand, nor hold up another arm.
        """
        position, rotation = self._limbs[number].body.pose(joints)
        allowed = self._workspaces[number].nearest(position, rotation)
        if not self._note("workspace", allowed, position):
            return joints
        nearest = self._joints_at(number, HandPose(allowed, rotation, joints))
        return self._up_to_the_wall(number, joints) if nearest is None else nearest

    def _up_to_the_wall(self, number: int, joints: np.ndarray) -> np.ndarray:
        """How far from the last command towards ``joints`` an arm's hand stays inside the box."""
        limb, workspace = self._limbs[number], self._workspaces[number]
        here, inside, outside = self._motion.position[limb.joints], 0.0, 1.0
        for _ in range(HALVINGS):
            part = (inside + outside) / 2
            position, rotation = limb.body.pose(here + part * (joints - here))
            if np.abs(workspace.nearest(position, rotation) - position).max() <= TOLERANCE:
                inside = part
            else:
                outside = part
        return here + inside * (joints - here)

    def _joints_at(self, number: int, pose: HandPose) -> np.ndarray | None:
        """What inverse kinematics says, if forward kinematics confirms it; else None."""
        limb = self._limbs[number]
        body, lower, upper = limb.body, self._motion.lower[limb.joints], self._motion.upper[limb.joints]
        found = np.clip(body.solve(pose.position, pose.rotation, pose.near, lower, upper), lower, upper)
        position, rotation = body.pose(found)
        missed = float(np.abs(position - pose.position).max())
        turned = float(np.linalg.norm(rotation_vector(rotation @ pose.rotation.T)))
        way = float(np.linalg.norm(pose.position - body.pose(pose.near)[0]))
        moved = float(np.abs(found - pose.near).max())
        if missed <= REACHED and turned <= ALIGNED and moved <= JUMP + JUMP_PER_METRE * way:
            return found
        text = f"inverse kinematics misses by {missed:.4g} m and {turned:.4g} rad, {moved:.4g} rad away"
        self._intervene("unreachable", text)
        return None

    def _follow(self, target: np.ndarray, speed: float) -> np.ndarray:
        motion = self._motion
        too_far = np.abs(target - motion.position) > self._config.step + TOLERANCE
        broken = ["step"] * bool(too_far.any()) + motion.exceeded(target, speed)
        q = motion.follow(target, speed)
        change = float(np.abs(q - target).max())
        if change > TOLERANCE:
            for kind in broken or ["braking"]:
                self._intervene(kind, f"changed by {change:.4g}")
        if motion.refused:
            self._intervene(*self._refusal)
        return q

    def _speed(self, now: float) -> float:
        if self._started is None:
            self._started = now
        config = self._config
        progress = (now - self._started) / config.soft_start_seconds if config.soft_start_seconds else 1.0
        return float(np.clip(config.soft_start_from + (1 - config.soft_start_from) * progress, 0.0, 1.0))

    def _restart(self, start: np.ndarray) -> None:
        config = self._config
        self._workspaces = [Workspace(config.within(limb.box), limb.body, start[limb.joints]) for limb in self._limbs]
        bodies = [(limb.body, limb.joints) for limb in self._limbs]
        self._separation = Separation(config.arms_apart, bodies, start)
        present = self._map.present  # a joint that the robot does not have stays where it is
        self._motion = MotionLimiter(
            start,
            np.where(present, self._lower, start),
            np.where(present, self._upper, start),
            np.minimum(config.velocity, config.step / self._dt),
            config.acceleration,
            config.jerk,
            self._dt,
            self._admits,
        )
        self._started = None
        outside = max(float(-workspace.allowed.min()) for workspace in self._workspaces)
        if outside > TOLERANCE:
            self._on_event("outside", f"the arm starts {outside:.3f} m outside its workspace; it may only come back")

    def _admits(self, path: np.ndarray) -> bool:
        """Whether every arm stays in its box all along ``path`` (t, n) rad, and away from the others."""
        pairs = zip(self._limbs, self._workspaces, strict=True)
        if not all(workspace.admits(path[:, limb.joints]) for limb, workspace in pairs):
            self._refusal = "last_look", "the arm would have left the box, or could not have stopped in it"
        elif not self._separation.admits(path):
            nearest = f"the arms would have come within {self._config.arms_apart:g} m of each other"
            self._refusal = "arms_apart", nearest
        else:
            return True
        return False

    def _note(self, kind: str, allowed: np.ndarray, wished: np.ndarray) -> bool:
        change = float(np.abs(allowed - wished).max())
        if change <= TOLERANCE:
            return False
        self._intervene(kind, f"changed by {change:.4g}")
        return True

    def _intervene(self, kind: str, text: str) -> None:
        self.interventions[kind] += 1
        self._on_event(f"limited_{kind}", text)


def _poses(wish: HandPose | tuple[HandPose, ...]) -> tuple[HandPose, ...]:
    return (wish,) if isinstance(wish, HandPose) else wish
