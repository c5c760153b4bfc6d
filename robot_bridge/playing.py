"""A motion as what a control loop asks for: joint targets at its rate, a slow way to the first of them, what became of
them, and where the limits would cut."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from common.errors import UserError
from common.joint_map import JointMap
from demos.motion import Motion, resampled
from robot_bridge.actions import layout, openings
from robot_bridge.asker import Answer, Ask, Observation
from robot_bridge.config import RobotConfig
from robot_bridge.loop import Recorder, Tick
from robot_bridge.safety import Limb, SafetyFilter

HORIZON_SECONDS = 1.0
"""Of the targets that the loop is told ahead."""
SETTLE_SECONDS = 1.0
"""That the last pose is held, for an arm that limits have held up."""
PEAK = 1.875
"""Highest speed of a minimum-jerk motion, as a multiple of its mean."""
TOUCHED = 1e-3
"""A command that differs less than this (rad) from its target was not cut."""


def simulator_joints(motion: Motion, joint_map: JointMap, on_robot: bool | None = None) -> Motion:
    """The motion with the joints (t, n) of the robot's configuration, simulator order.

    ``on_robot`` says that the motion's joints are the robot's (as of a tokenizer that was trained with a joint map);
    None leaves it to their number. Joints that the robot does not have stand at 0.

    Raises:
        UserError: there are neither as many joints as the simulator has nor as the robot has.
    """
    count, sim, real = motion.joints.shape[1], joint_map.sim_dof, joint_map.real_dof
    if on_robot is None:
        on_robot = count == real and count != sim
    if count != (real if on_robot else sim):
        whose = f"the robot has {real}" if on_robot else f"the simulator has {sim}, the robot {real}"
        raise UserError(f"{motion.source or motion.name}: {count} joints; {whose}")
    joints = joint_map.to_sim(motion.joints * joint_map.per_radian, np.zeros(sim)) if on_robot else motion.joints
    joints = np.where(joint_map.present, joints, 0.0)
    return Motion(**{**motion.__dict__, "joints": joints.astype(np.float32)})


@dataclass(frozen=True, eq=False)
class Targets:
    """Joints (t, n) rad, one row a control period; the first ``approach`` rows lead to the motion.

    ``openings`` (t, g), in the drivers' units, is where the grippers are to be; without, fingers are left as they are.
    """

    rows: np.ndarray
    approach: int
    rate: float
    openings: np.ndarray | None = None

    @property
    def seconds(self) -> float:
        return len(self.rows) / self.rate

    def at(self, tick: int) -> np.ndarray:
        """Where to be (n,) at the end of control period ``tick``; the ends are held."""
        return self.rows[min(max(tick, 0), len(self.rows) - 1)]

    def ahead(self, tick: int) -> np.ndarray:
        """The numbers (horizon,) of the rows from a control period on."""
        ticks = tick + np.arange(max(round(HORIZON_SECONDS * self.rate), 2))
        return np.clip(ticks, 0, len(self.rows) - 1)


def chunks_of(targets: Targets, config: RobotConfig) -> Ask:
    """What a policy that follows ``targets`` would answer, in mode ``joint_target``.

    Fingers that are left as they are stay where they were at first: told again and again where they were just seen,
    they would yield to whatever they hold.
    """
    arms, places = layout(config)
    width = config.embodiment.action_width
    found: np.ndarray | None = None

    def ask(observation: Observation) -> np.ndarray:
        nonlocal found
        found = openings(config.grippers, observation.fingers) if found is None else found
        ahead = targets.ahead(observation.tick)
        chunk = np.zeros((len(ahead), width))
        for own, part in zip(config.slices, arms, strict=True):
            chunk[:, part] = targets.rows[ahead][:, own]
        for number, (place, gripper) in enumerate(zip(places, config.grippers, strict=True)):
            if targets.openings is None:
                chunk[:, place] = gripper.to_stay(found[number])
            else:
                chunk[:, place] = [gripper.to_reach(opening) for opening in targets.openings[ahead, number]]
        return chunk

    return ask


def targets_of(
    motion: Motion, rate: float, speed: float, start: np.ndarray, limits: np.ndarray, approach: float
) -> Targets:
    """The motion at ``rate`` (Hz), ``speed`` times as fast, after a way to it from ``start`` (n,) rad.

    On the way grippers are told what the motion tells them first.
    On the way no joint is faster than ``approach`` times its velocity limit, ``limits`` (n,) rad/s. The motion's own
    last pose, which may lie between two control periods, is held for a while.
    """
    played = resampled(Motion(**{**motion.__dict__, "frame_rate": motion.frame_rate * speed}), rate)
    joints = played.joints.astype(np.float64)
    rows = _way(start, joints[0], rate, approach * limits)
    held = np.repeat(motion.joints[-1:].astype(np.float64), round(SETTLE_SECONDS * rate), axis=0)
    told = None
    if played.openings is not None:
        told = np.pad(played.openings, ((len(rows) - 1, len(held)), (0, 0)), mode="edge")
    return Targets(np.concatenate([rows, joints[1:], held]), len(rows) - 1, rate, told)


def targets_to(
    goal: np.ndarray, rate: float, start: np.ndarray, limits: np.ndarray, approach: float, openings: np.ndarray
) -> Targets:
    """The way from ``start`` to ``goal`` (n,) rad, as that to a motion in ``targets_of``; grippers go to ``openings``
    (g,) at once."""
    rows = _way(start, goal, rate, approach * limits)
    held = np.repeat(goal[None], round(SETTLE_SECONDS * rate), axis=0)
    told = np.tile(openings, (len(rows) + len(held), 1))
    return Targets(np.concatenate([rows, held]), len(rows) - 1, rate, told)


def _way(start: np.ndarray, goal: np.ndarray, rate: float, fastest: np.ndarray) -> np.ndarray:
    """A minimum-jerk motion (t, n) on which no joint is faster than ``fastest`` (n,) rad/s."""
    way = goal - start
    seconds = max(1.0, PEAK * float((np.abs(way) / fastest).max()))
    s = np.linspace(0, 1, max(round(seconds * rate), 2) + 1)[1:, None]
    return start + way * (10 * s**3 - 15 * s**4 + 6 * s**5)


@dataclass
class Played:
    """A recorder that compares what was commanded and measured with the targets, and passes everything on."""

    targets: Targets
    behind: Recorder | None = None
    commanded: list[np.ndarray] = field(default_factory=list)
    measured: list[np.ndarray] = field(default_factory=list)
    wished: list[np.ndarray] = field(default_factory=list)

    @property
    def failure(self) -> str:
        return "" if self.behind is None else self.behind.failure

    def tick(self, tick: Tick) -> None:
        if tick.observation.tick >= self.targets.approach:
            self.wished.append(self.targets.at(tick.observation.tick))
            self.commanded.append(tick.command.q_sim)
        self.measured = [tick.measured]
        if self.behind is not None:
            self.behind.tick(tick)

    def answer(self, answer: Answer) -> None:
        if self.behind is not None:
            self.behind.answer(answer)

    def event(self, at: float, kind: str, text: str) -> None:
        if self.behind is not None:
            self.behind.event(at, kind, text)

    def summary(self, limbs: Sequence[Limb]) -> dict[str, Any]:
        """How far commands were from the motion (rad), and the arm in the end from the motion's end (rad, m)."""
        if not self.wished:
            return {"played": False}
        apart = np.abs(np.array(self.commanded) - np.array(self.wished))
        end = self.targets.rows[-1]
        return {
            "played": len(self.wished) >= len(self.targets.rows) - self.targets.approach - 1,
            "command_rad_max": round(float(apart.max()), 4),
            "command_rad_rms": round(float(np.sqrt((apart**2).mean())), 4),
            "end_rad_max": round(float(np.abs(self.measured[0] - end).max()), 4),
            "end_m": round(max(_apart(limb, self.measured[0], end) for limb in limbs), 5),
        }


@dataclass(frozen=True)
class Cut:
    """A stretch of a motion (s from its beginning) that the safety filter changes, why, and by how much (rad)."""

    begins: float
    ends: float
    why: tuple[str, ...]
    joint: str
    largest: float

    def __str__(self) -> str:
        kinds = ", ".join(self.why) or "still catching up"
        return f"{self.begins:6.2f} to {self.ends:6.2f} s: {kinds}; {self.joint} by up to {self.largest:.3f} rad"


def _apart(limb: Limb, here: np.ndarray, there: np.ndarray) -> float:
    """m between the end effector at joints ``here`` (n,) rad and ``there``."""
    places = [limb.body.pose(q[limb.joints])[0] for q in (here, there)]
    return float(np.linalg.norm(places[0] - places[1]))


def cuts(targets: Targets, config: RobotConfig, limbs: Sequence[Limb]) -> list[Cut]:
    """Where the safety filter would change a motion that begins at its first pose, robot or not."""
    rows, dt = targets.rows[targets.approach :], 1 / targets.rate
    safety = config.safety
    start = np.clip(rows[0], safety.lower + safety.margin, safety.upper - safety.margin)
    reference = np.zeros(config.joint_map.real_dof)
    chain = SafetyFilter(safety, config.joint_map, dt, start, limbs, reference=reference)
    for tick in range(round(safety.soft_start_seconds / dt) + 1):  # which the way there takes in earnest
        chain.watchdog.fresh(tick * dt)
        chain.command(rows[0], tick * dt)
    began, changes, whys = safety.soft_start_seconds + 2 * dt, [], []
    for tick, wish in enumerate(rows):
        now, before = began + tick * dt, chain.interventions.copy()
        chain.watchdog.fresh(now)
        changes.append(chain.command(wish, now).q_sim - wish)
        whys.append(tuple(sorted(kind for kind, count in chain.interventions.items() if count > before[kind])))
    return _stretches(np.array(changes), whys, dt, config.joints)


def _stretches(changes: np.ndarray, whys: Sequence[tuple[str, ...]], dt: float, joints: Sequence[str]) -> list[Cut]:
    cut = np.abs(changes).max(axis=1) > TOUCHED
    edges = np.flatnonzero(np.diff(np.concatenate([[False], cut, [False]]).astype(int)))
    found = []
    for first, end in zip(edges[::2], edges[1::2], strict=True):
        sizes = np.abs(changes[first:end])
        kinds = sorted({kind for why in whys[first:end] for kind in why})
        joint = int(sizes.max(axis=0).argmax())
        found.append(Cut(first * dt, end * dt, tuple(kinds), joints[joint], float(sizes.max())))
    return found
