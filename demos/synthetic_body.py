"""Full-body motion made by code: people of different sizes who walk, turn, reach, crouch and look around.

  python -m demos.synthetic_body data/bodies --people 40 --actions 8 --seed 0

writes HDF5 files as Nymeria's are (``demos.body_motion``), 152 frames at 30 Hz each. Nothing is simulated: joints
follow sines and smooth blends inside human ranges, the pelvis goes where the stance leg would push it.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.progress import track
from scipy.spatial.transform import Rotation

from common import cli
from demos.body_motion import FRAME_RATE, JOINTS, PARENTS, BodyMotion, write_body_motion

FRAMES = 152
_OFFSETS = {
    "L5": (0, 0, 0.10), "L3": (0, 0, 0.10), "T12": (0, 0, 0.10), "T8": (0, 0, 0.10), "Neck": (0, 0, 0.14),
    "Head": (0, 0, 0.10), "R_Shoulder": (0, -0.03, 0.09), "R_UpperArm": (0, -0.14, 0), "R_Forearm": (0, 0, -0.29),
    "R_Hand": (0, 0, -0.25), "L_Shoulder": (0, 0.03, 0.09), "L_UpperArm": (0, 0.14, 0), "L_Forearm": (0, 0, -0.29),
    "L_Hand": (0, 0, -0.25), "R_UpperLeg": (0, -0.09, 0), "R_LowerLeg": (0, 0, -0.42), "R_Foot": (0, 0, -0.41),
    "R_Toe": (0.16, 0, -0.06), "L_UpperLeg": (0, 0.09, 0), "L_LowerLeg": (0, 0, -0.42), "L_Foot": (0, 0, -0.41),
    "L_Toe": (0.16, 0, -0.06),
}  # fmt: skip
"""From each joint's parent to it, in the parent's frame when standing: x ahead, y left, z up (m, for 1.75 m)."""
_STANDING = 0.89
"""Height of the pelvis (m)."""
_HEAD_TO_EYES = np.array([0.10, 0.0, 0.09])
_HEAD_TO_CPF = np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
"""Columns: the central pupil frame's axes (left, up, ahead) in the head segment's frame."""


@dataclass(frozen=True)
class Person:
    """Whose motion it is: factors of all lengths, of the legs and of the arms, and a way to walk."""

    size: float
    legs: float
    arms: float
    pace: float

    @classmethod
    def drawn(cls, rng: np.random.Generator) -> "Person":
        """Somebody between 1.5 and 2 m."""
        legs, arms = rng.uniform(0.94, 1.06, 2)
        return cls(rng.uniform(0.86, 1.14), legs, arms, rng.uniform(0.85, 1.15))

    def offset(self, joint: str) -> np.ndarray:
        """From the joint's parent to it (m)."""
        part = self.legs if "Leg" in joint or "Foot" in joint else self.arms if "arm" in joint.lower() else 1.0
        return np.array(_OFFSETS[joint]) * self.size * part


def body_motion(person: Person, rng: np.random.Generator, frames: int = FRAMES, name: str = "") -> BodyMotion:
    """One action of a person: a gait of random speed and turn with other movements blended in."""
    t = np.arange(frames) / FRAME_RATE
    bend = {joint: np.zeros((frames, 3)) for joint in JOINTS}  # roll, pitch, yaw of each joint against its parent (rad)
    speed = person.pace * rng.choice([0.0, rng.uniform(0.5, 1.5)], p=[0.3, 0.7])
    crouch = _blend(t, rng) * rng.choice([0.0, rng.uniform(0.2, 1.0)], p=[0.5, 0.5]) * (0.3 if speed else 1.0)
    _walk(bend, t, speed, crouch, rng)
    _lean_and_look(bend, t, rng)
    for side, sign in (("R", -1.0), ("L", 1.0)):
        if rng.random() < 0.6:
            _reach(bend, side, sign, _blend(t, rng), rng)

    turn = rng.normal(0, 0.4) * (np.cumsum(_blend(t, rng)) / FRAME_RATE) + rng.uniform(-np.pi, np.pi)
    ahead = np.stack([np.cos(turn), np.sin(turn)], axis=1) * (speed * person.legs * person.size / FRAME_RATE)
    ground = rng.uniform(-1.5, 1.5, 2) + np.cumsum(ahead, axis=0)
    knee = bend["R_LowerLeg"][:, 1] + bend["L_LowerLeg"][:, 1]
    drop = 0.42 * (1 - np.cos(np.minimum(knee / 2, 1.6) / 2)) * 2
    height = person.size * person.legs * (_STANDING - drop)
    root = np.column_stack([ground, height])
    return _placed(person, root, turn, bend, name)


def _walk(bend: dict, t: np.ndarray, speed: float, crouch: np.ndarray, rng: np.random.Generator) -> None:
    phase = rng.uniform(0, 2 * np.pi) + 2 * np.pi * (0.55 + 0.3 * speed) * t * (speed > 0)
    swing = 0.42 * min(speed, 1.5) / 1.5
    for side, offset in (("R", 0.0), ("L", np.pi)):
        leg = phase + offset
        bend[f"{side}_UpperLeg"][:, 1] = -swing * np.sin(leg) - 1.1 * crouch
        bend[f"{side}_LowerLeg"][:, 1] = 0.08 + swing * (1 + np.sin(leg + 1.2)) * (speed > 0) + 1.8 * crouch
        bend[f"{side}_Foot"][:, 1] = -0.3 * swing * np.sin(leg) - 0.7 * crouch
        bend[f"{side}_Toe"][:, 1] = -0.5 * swing * np.maximum(np.sin(leg + 2.0), 0)
        bend[f"{side}_UpperArm"][:, 1] = 0.9 * swing * np.sin(leg)
        bend[f"{side}_Forearm"][:, 1] = -0.25 - 0.5 * swing * (1 - np.sin(leg)) / 2
    bend["L5"][:, 2] = 0.2 * swing * np.sin(phase)
    bend["T8"][:, 2] = -0.3 * swing * np.sin(phase)
    bend["Pelvis"][:, 0] = 0.08 * swing * np.cos(phase)
    bend["L3"][:, 1] = 0.45 * crouch


def _lean_and_look(bend: dict, t: np.ndarray, rng: np.random.Generator) -> None:
    lean, turn = _blend(t, rng) * rng.uniform(-0.1, 0.5), _blend(t, rng) * rng.uniform(-0.5, 0.5)
    for joint in ("L5", "L3", "T12", "T8"):
        bend[joint][:, 1] += lean / 4
        bend[joint][:, 2] += turn / 4
    bend["Neck"] += _blend(t, rng)[:, None] * rng.uniform([-0.15, -0.3, -0.5], [0.15, 0.4, 0.5])
    bend["Head"] += 0.4 * _blend(t, rng)[:, None] * rng.uniform([-0.2, -0.4, -0.8], [0.2, 0.5, 0.8])


def _reach(bend: dict, side: str, sign: float, amount: np.ndarray, rng: np.random.Generator) -> None:
    upper = np.array([sign * rng.uniform(0.0, 0.9), -rng.uniform(0.2, 1.8), sign * rng.uniform(-0.4, 0.4)])
    keep = 1 - amount[:, None]
    bend[f"{side}_UpperArm"] = keep * bend[f"{side}_UpperArm"] + amount[:, None] * upper
    elbow = np.array([0.0, -rng.uniform(0.1, 1.6), 0.0])
    bend[f"{side}_Forearm"] = keep * bend[f"{side}_Forearm"] + amount[:, None] * elbow
    bend[f"{side}_Hand"] = amount[:, None] * rng.uniform(-0.5, 0.5, 3)


def _blend(t: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(t,) in [0, 1]: up, a while there, and down again, each with minimum jerk."""
    begin, rise, hold = rng.uniform(-0.5, 0.6 * t[-1]), rng.uniform(0.5, 1.6), rng.uniform(0.2, 2.0)

    def step(x: np.ndarray) -> np.ndarray:
        x = np.clip(x, 0, 1)
        return x**3 * (10 - 15 * x + 6 * x**2)

    return step((t - begin) / rise) * (1 - step((t - begin - rise - hold) / rise))


def _placed(person: Person, root: np.ndarray, turn: np.ndarray, bend: dict, name: str) -> BodyMotion:
    """Forward kinematics: each joint's pose in the world from its parent's."""
    rotations: list[Rotation] = []
    positions: list[np.ndarray] = []
    for joint, parent in zip(JOINTS, PARENTS, strict=True):
        own = Rotation.from_euler("ZYX", bend[joint][:, ::-1])
        if parent < 0:
            rotations.append(Rotation.from_euler("z", turn[:, None]) * own)
            positions.append(root)
        else:
            positions.append(positions[parent] + rotations[parent].apply(person.offset(joint)))
            rotations.append(rotations[parent] * own)
    head = JOINTS.index("Head")
    matrices = np.stack([rotation.as_matrix() for rotation in rotations], axis=1)
    return BodyMotion(
        (positions[head] + rotations[head].apply(_HEAD_TO_EYES * person.size)).astype(np.float32),
        (matrices[:, head] @ _HEAD_TO_CPF).astype(np.float32),
        np.stack(positions, axis=1).astype(np.float32),
        matrices.astype(np.float32),
        sequence=name,
    )


def main(argv: list[str]) -> None:
    parser = cli.CommandParser("demos.synthetic_body", __doc__)
    parser.add_argument("out", type=Path, metavar="DIR", help="writes PERSON_ACTION.h5 there")
    parser.add_argument("--people", type=cli.positive, default=40, help="of different sizes (default 40)")
    parser.add_argument("--actions", type=cli.positive, default=8, help="of each (default 8)")
    parser.add_argument("--frames", type=cli.positive, default=FRAMES, help=f"of each at 30 Hz (default {FRAMES})")
    parser.add_argument("--seed", type=cli.not_negative, default=0, help="decides all of it (default 0)")
    args = parser.parse_args(argv)
    for number in track(range(args.people), "people"):
        person, name = Person.drawn(np.random.default_rng([args.seed, number])), f"person_{number:03d}"
        for action in range(args.actions):
            motion = body_motion(person, np.random.default_rng([args.seed, number, action]), args.frames, name)
            write_body_motion(args.out / f"{name}_{action:05d}.h5", motion)
    print(f"wrote {args.people * args.actions} motions of {args.people} people to {args.out}")


if __name__ == "__main__":
    cli.run(main)
