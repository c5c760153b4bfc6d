"""What the safety filter promises, on a real arm: no command, and no place where braking from it ends, is outside.

Wishes, limits, boxes, control rates and starting poses are drawn; every command is looked at, and every plan to stop
that stands behind it, with forward kinematics of the test's own.
"""

from dataclasses import replace

import mujoco
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("mink")
pytest.importorskip("robosuite")

from robot_bridge.config import RobotConfig, SafetyConfig, read_robot
from robot_bridge.kinematics import Kinematics
from robot_bridge.models import load_model
from robot_bridge.osc import OscReference
from robot_bridge.panda import HOME, SPHERES
from robot_bridge.rotations import rotation_matrix
from robot_bridge.safety import HandPose, Limb, Mode, SafetyFilter

OUTSIDE = 1e-3
"""m that a command or the end of braking may be outside."""
EXCEEDED = 1e-6
"""Share of a limit that a command may be beyond it."""
CONSTANT = np.array([0.5, 0.7, -1, 0, 0, 0.4, 0])
"""An action that drives the hand into the table and turns it."""

MODEL = load_model("robosuite:panda")
DATA = mujoco.MjData(MODEL)
BODIES = np.array([MODEL.body(body).id for body, _, _ in SPHERES])
MIDDLES, RADII = np.array([middle for _, middle, _ in SPHERES]), np.array([radius for _, _, radius in SPHERES])
SITE = MODEL.site("gripper_grip_site").id
ARM = Kinematics(load_model("robosuite:panda"), read_robot("twin").joints, "gripper_grip_site", "base")


def beyond(config: SafetyConfig, q: np.ndarray) -> np.ndarray:
    """How far (m) outside each wall of the box the end effector is, and how far below the floor each part of the arm;
    negative inside."""
    DATA.qpos[:7] = q
    mujoco.mj_kinematics(MODEL, DATA)
    hand = DATA.site_xpos[SITE]
    lowest = DATA.xpos[BODIES, 2] + (DATA.xmat[BODIES, 6:] * MIDDLES).sum(axis=1) - RADII
    return np.concatenate(
        [config.workspace_lower - hand, hand - config.workspace_upper, config.workspace_floor - lowest]
    )


class Watcher:
    """Runs a filter and holds everything that it sends to what it promises."""

    def __init__(self, robot: RobotConfig, dt: float, start: np.ndarray):
        self.config, self.dt = robot.safety, dt
        self.safety = SafetyFilter(robot.safety, robot.joint_map, dt, start, [Limb(ARM)])
        self.steps = 0
        self.restart(start)

    def restart(self, start: np.ndarray) -> None:
        """The arm was (re)started from here: from now on it must not be further outside than this."""
        self._before = np.tile(start, (3, 1))
        self.outside = np.maximum(0, beyond(self.config, start))
        self._lower = np.minimum(start, self.config.lower + self.config.margin)
        self._upper = np.maximum(start, self.config.upper - self.config.margin)

    def step(self, wish, now: float) -> np.ndarray:
        """One control period; the command."""
        command = self.safety.command(wish, now).q_sim
        plan = self.safety.braking
        np.testing.assert_array_equal(plan[0], command)
        self._assert_inside_limits(plan)
        between = (self._before[-1] + command) / 2
        seen = np.stack([beyond(self.config, q) for q in (between, *plan)])
        assert (seen.max(axis=0) <= self.outside + OUTSIDE).all()
        self.outside = np.minimum(self.outside, np.maximum(0, seen.max(axis=0)))  # what is inside again stays there
        self._before = np.vstack([self._before[1:], command])
        self.steps += 1
        return command

    def _assert_inside_limits(self, plan: np.ndarray) -> None:
        config, dt = self.config, self.dt
        q = np.vstack([self._before, plan, plan[-1], plan[-1], plan[-1]])  # and then the arm stands
        assert np.isfinite(q).all()
        assert (plan >= self._lower - EXCEEDED).all()
        assert (plan <= self._upper + EXCEEDED).all()
        self._lower = np.maximum(self._lower, np.minimum(plan.min(axis=0), config.lower + config.margin))
        self._upper = np.minimum(self._upper, np.maximum(plan.max(axis=0), config.upper - config.margin))
        velocity = np.diff(q, axis=0) / dt
        acceleration = np.diff(velocity, axis=0) / dt
        jerk = np.diff(acceleration, axis=0) / dt
        assert (np.abs(velocity) <= np.minimum(config.velocity, config.step / dt) * (1 + EXCEEDED)).all()
        assert (np.abs(acceleration) <= config.acceleration * (1 + EXCEEDED)).all()
        assert (np.abs(jerk) <= config.jerk * (1 + EXCEEDED)).all()


def drawn_robot(rng: np.random.Generator) -> RobotConfig:
    """Limits from a tenth to twice of those of the two robots that come with the package, and a box of any size."""
    robot = read_robot(rng.choice(["twin", "franka"]))
    safety = robot.safety
    centre = ARM.pose(np.array(HOME))[0] + rng.normal(0, 0.1, 3)
    size = rng.uniform([0.05, 0.1, 0.1], [0.35, 0.5, 0.4])
    acceleration = safety.acceleration * rng.uniform(0.3, 2, 7)
    safety = replace(
        safety,
        velocity=safety.velocity * rng.uniform(0.1, 2, 7),
        acceleration=acceleration,
        jerk=acceleration * rng.uniform(5, 80),
        step=safety.step * rng.uniform(0.5, 2),
        margin=rng.uniform(0.01, 0.2),
        workspace_lower=centre - size,
        workspace_upper=centre + size,
        workspace_floor=rng.uniform(-0.1, 0.05),
        soft_start_seconds=rng.uniform(0.1, 2),
    )
    return replace(robot, safety=safety)


def drawn_start(rng: np.random.Generator, config: SafetyConfig) -> np.ndarray:
    """Mostly near home and inside the range; else anywhere, and beyond it."""
    lower, upper = config.lower + config.margin, config.upper - config.margin
    kind = rng.integers(6)
    if kind == 0:
        return rng.uniform(lower - 0.3, upper + 0.3)
    if kind == 1:
        return rng.uniform(lower, upper)
    return np.clip(HOME + rng.normal(0, 0.3, 7), lower, upper)


KINDS = ["hand", "hand", "constant", "teleport", "near", "near", "far", "reversal", "odd", "none"]


class Wisher:
    """Wishes of every kind, each held for a while: what a policy, a broken one, or none at all may come up with."""

    def __init__(self, rng: np.random.Generator, watcher: Watcher):
        self._rng, self._watcher, self._left = rng, watcher, 0

    def next(self):
        """A pose of the hand, joints, or None."""
        if self._left == 0:
            self._left = int(self._rng.integers(1, 40))
            self._kind = self._rng.choice(KINDS)
            self._action = self._rng.uniform(-1, 1, 6) * self._rng.choice([0.3, 1, 1, 5])
            self._joints = self._rng.uniform(-3.5, 3.5, 7)
        self._left -= 1
        return getattr(self, f"_{self._kind}")()

    def _hand(self, action=None):
        action = self._action if action is None else action
        q = self._watcher.safety.q
        position, rotation = ARM.pose(q)
        return HandPose(position + 0.0125 * action[:3], rotation_matrix(0.125 * action[3:6]) @ rotation, q)

    def _constant(self):
        return self._hand(CONSTANT)

    def _teleport(self):
        position, rotation = ARM.pose(self._joints)
        return HandPose(position, rotation, self._watcher.safety.q)

    def _near(self):
        return self._watcher.safety.q + self._rng.normal(0, 0.1, 7)

    def _far(self):
        return self._joints

    def _reversal(self):
        self._joints = -self._joints if self._rng.random() < 0.3 else self._joints
        return self._watcher.safety.q + 0.3 * self._joints

    def _odd(self):
        wish = self._watcher.safety.q + self._rng.normal(0, 1, 7)
        wish[self._rng.integers(7)] = self._rng.choice([1e9, -1e300, np.nan, np.inf], p=[0.45, 0.45, 0.05, 0.05])
        return wish

    def _none(self):
        return None


def roam(seed: int, steps: int) -> Watcher:
    """One robot for so many control periods."""
    rng = np.random.default_rng(seed)
    robot = drawn_robot(rng)
    dt = rng.choice([0.05, 0.05, 0.05, 0.02, 0.01])
    watcher = Watcher(robot, dt, drawn_start(rng, robot.safety))
    wisher, now = Wisher(rng, watcher), 100.0
    for _ in range(steps):
        now += dt
        if rng.random() < 0.7:
            watcher.safety.watchdog.fresh(now)
        if rng.random() < 0.01:
            watcher.safety.watchdog.stop("test")
        if watcher.safety.watchdog.mode is Mode.STOPPED and rng.random() < 0.2:
            there = watcher.safety.q + rng.normal(0, 0.01, 7)  # where the arm hangs, or was pushed
            if watcher.safety.reset(there):
                watcher.restart(there)
        watcher.step(wisher.next(), now)
    return watcher


@given(seed=st.integers(0, 2**32))
@settings(max_examples=50, deadline=None)
def test_whatever_is_wished_the_arm_stays_inside_and_could_stop_inside(seed: int):
    assert roam(seed, 200).steps == 200


@pytest.mark.slow
@given(seed=st.integers(0, 2**64))
@settings(max_examples=2000, deadline=None)
def test_whatever_is_wished_the_arm_stays_inside_for_a_million_steps(seed: int):
    assert roam(seed, 500).steps == 500


def play(robot: RobotConfig, actions: np.ndarray) -> tuple[Watcher, np.ndarray]:
    """End-effector actions (t, 7) through the reference of the training, as the loop does; positions (t, 3) m."""
    watcher = Watcher(robot, 0.05, np.array(HOME))
    reference = OscReference(robot.osc, 0.05)
    path = []
    for tick, action in enumerate(actions):
        q = watcher.safety.q
        watcher.safety.watchdog.fresh(0.05 * tick)
        pose = reference.advance(*ARM.pose(q), action, q)
        path.append(ARM.pose(watcher.step(HandPose(*pose, near=reference.joints), 0.05 * tick))[0])
    return watcher, np.array(path)


@pytest.mark.parametrize("name", ["twin", "franka"])
def test_an_action_that_drives_into_the_table_slides_along_it(name: str):
    robot = read_robot(name)
    watcher, path = play(robot, np.tile(CONSTANT, (200, 1)))
    assert beyond(robot.safety, watcher.safety.q).max() < 0
    assert path[:, 2].min() < max(robot.safety.workspace_lower[2], robot.safety.workspace_floor) + 0.05
    assert path[-1, 0] > 0.55  # not caught at the first touch
    assert path[-1, 1] > 0.3
    assert watcher.safety.interventions["workspace"] > 50


@pytest.mark.parametrize("name", ["twin", "franka"])
def test_random_actions_stay_inside(name: str):
    rng = np.random.default_rng(0)
    watcher, _ = play(read_robot(name), np.repeat(rng.uniform(-1, 1, (20, 7)), 10, axis=0))
    assert watcher.safety.interventions["velocity"] > 0


def test_ordinary_actions_are_followed_exactly():
    robot = read_robot("twin")
    safety = replace(robot.safety, soft_start_from=1.0, workspace_upper=np.array([0.85, 0.8, 0.75]))
    noise = np.random.default_rng(0).normal(size=(100, 6)) * [1, 1, 0.5, 0.2, 0.2, 0.2]
    smooth = np.stack([np.convolve(column, np.ones(8) / 5, mode="same") for column in noise.T], axis=1)
    actions = np.concatenate([np.clip(smooth, -1, 1), -np.ones((100, 1))], axis=1)
    _, path = play(replace(robot, safety=safety), actions)
    reference, pose = OscReference(robot.osc, 0.05), ARM.pose(np.array(HOME))
    for action, position in zip(actions, path, strict=True):
        pose = reference.advance(*pose, action)
        np.testing.assert_allclose(position, pose[0], atol=3e-3)
    assert np.ptp(path, axis=0).min() > 0.02


@pytest.mark.parametrize("seed", range(5))
def test_an_arm_that_was_left_outside_comes_back_and_never_goes_further_out(seed: int):
    robot = read_robot("twin")
    lower, upper = robot.safety.lower + robot.safety.margin, robot.safety.upper - robot.safety.margin
    rng = np.random.default_rng(seed)
    start = np.array(HOME)
    while beyond(robot.safety, start).max() < 0.05:
        start = np.clip(HOME + rng.normal(0, 0.6, 7), lower, upper)
    watcher = Watcher(robot, 0.05, start)  # it looks at every step whether the arm goes further out
    for tick in range(100):
        q = watcher.safety.q
        watcher.safety.watchdog.fresh(0.05 * tick)
        watcher.step(HandPose(*ARM.pose(q), near=q), 0.05 * tick)
    assert beyond(robot.safety, watcher.safety.q).max() < 0
    assert (watcher.outside == 0).all()
