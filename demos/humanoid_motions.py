"""Motions of gymnasium's MuJoCo humanoid, made by code: mixtures of walking, turning, waving, squatting.

  python -m demos.humanoid_motions humanoid.npy --clips 200 --seed 0

Written as an NPY file (docs/motion.md) of 17 joints at 30 Hz. The joints follow sines and minimum-jerk blends inside
their ranges and the root goes where the legs would take it; nothing is simulated, so feet may slide.
"""

from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from common import cli
from demos.motion import Motion, make_motion
from demos.motion_files import write_npy

FRAME_RATE = 30.0
JOINTS = (
    *("abdomen_z", "abdomen_y", "abdomen_x", "right_hip_x", "right_hip_z", "right_hip_y", "right_knee"),
    *("left_hip_x", "left_hip_z", "left_hip_y", "left_knee", "right_shoulder1", "right_shoulder2", "right_elbow"),
    *("left_shoulder1", "left_shoulder2", "left_elbow"),
)
"""In the order of the model."""
LOWER = np.radians([-45, -75, -35, -25, -60, -110, -160, -25, -60, -110, -160, -85, -85, -90, -60, -60, -90])
UPPER = np.radians([45, 30, 35, 5, 35, 20, -2, 5, 35, 20, -2, 60, 60, 50, 85, 85, 50])
HEIGHT = 1.36
"""m, of the torso when standing."""
THIGH, SHIN = 0.40, 0.45


def humanoid_motion(seed: int, seconds: float = 4.0, name: str = "") -> Motion:
    """One clip: a gait of random speed, turn and size, into which other movements are blended."""
    rng = np.random.default_rng([seed, 17])
    frames = round(seconds * FRAME_RATE)
    t = np.arange(frames) / FRAME_RATE
    q = np.zeros((frames, len(JOINTS)))
    speed = rng.choice([0.0, rng.uniform(0.4, 1.6)], p=[0.3, 0.7])
    phase = rng.uniform(0, 2 * np.pi) + 2 * np.pi * (0.5 + 0.35 * speed) * t
    swing, lean = 0.45 * speed / 1.6 * rng.uniform(0.8, 1.1), rng.uniform(0, 0.15)
    for side, sign, offset in (("right", -1, 0.0), ("left", 1, np.pi)):
        leg = phase + offset
        _set(q, f"{side}_hip_y", -0.1 - swing * np.sin(leg))
        _set(q, f"{side}_knee", -0.15 - 1.1 * swing * (1 + np.sin(leg + 1.2)))
        _set(q, f"{side}_hip_x", -0.05 + 0.03 * np.sin(leg))
        _set(q, f"{side}_shoulder1", sign * (0.1 + 0.6 * swing * np.sin(leg + np.pi)))
        _set(q, f"{side}_elbow", np.full(frames, -0.3 - 0.5 * swing))
    _set(q, "abdomen_y", -lean - 0.03 * np.sin(2 * phase))
    _set(q, "abdomen_z", 0.25 * swing * np.sin(phase))
    squat = _bump(t, rng) * rng.choice([0.0, rng.uniform(0.3, 1.2)], p=[0.5, 0.5]) * (0.3 if speed else 1.0)
    for side in ("right", "left"):
        _set(q, f"{side}_hip_y", -0.8 * squat)
        _set(q, f"{side}_knee", -1.4 * squat)
    for side, sign in (("right", -1), ("left", 1)):
        if rng.random() < 0.5:
            raised, waves = _bump(t, rng), rng.uniform(1.0, 2.5)
            _set(q, f"{side}_shoulder1", sign * rng.uniform(0.3, 1.0) * raised)
            _set(q, f"{side}_shoulder2", rng.uniform(-0.8, 0.8) * raised)
            _set(q, f"{side}_elbow", 0.4 * raised * np.sin(2 * np.pi * waves * t))
    _set(q, "abdomen_x", rng.uniform(-0.3, 0.3) * _bump(t, rng))
    q = np.clip(q, LOWER, UPPER)
    yaw = rng.uniform(-np.pi, np.pi) + np.cumsum(rng.uniform(-0.6, 0.6) * _bump(t, rng)) / FRAME_RATE
    stride = speed * (1 + 0.1 * np.sin(2 * phase)) / FRAME_RATE
    root = np.stack([np.cumsum(stride * np.cos(yaw)), np.cumsum(stride * np.sin(yaw)), _height(q)], axis=1)
    return make_motion(
        name or f"humanoid_{seed}", FRAME_RATE, q, root, Rotation.from_euler("z", yaw[:, None]).as_quat()
    )


def _set(q: np.ndarray, joint: str, values: np.ndarray) -> None:
    q[:, JOINTS.index(joint)] += values


def _bump(t: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """0, up to 1 and down again, minimum jerk, at a random time (t,)."""
    middle, rise = rng.uniform(0.3, 0.7) * t[-1], rng.uniform(0.5, 1.2)
    hold = rng.uniform(0.2, 1.0)
    s = np.clip((rise + hold / 2 - np.abs(t - middle)) / rise, 0, 1)
    return s**3 * (10 - 15 * s + 6 * s**2)


def _height(q: np.ndarray) -> np.ndarray:
    """Of the torso (frames,), such that the leg that reaches lower stands on the ground."""
    reach = []
    for side in ("right", "left"):
        hip, knee = (q[:, JOINTS.index(f"{side}_{joint}")] for joint in ("hip_y", "knee"))
        reach.append(THIGH * np.cos(hip) + SHIN * np.cos(hip - knee))
    return HEIGHT - THIGH - SHIN + np.maximum(*reach)


def main(argv: list[str]) -> None:
    parser = cli.CommandParser("demos.humanoid_motions", __doc__)
    parser.add_argument("out", type=Path, metavar="FILE", help="the NPY file to write")
    parser.add_argument("--clips", type=cli.positive, default=200, metavar="N", help="how many motions (default 200)")
    parser.add_argument("--seed", type=cli.not_negative, default=0, metavar="N", help="of the first one (default 0)")
    args = parser.parse_args(argv)
    motions = [humanoid_motion(args.seed + number) for number in range(args.clips)]
    write_npy(args.out, motions)
    print(f"wrote {args.out}: {len(motions)} motions, {sum(motion.seconds for motion in motions):.0f} s")


if __name__ == "__main__":
    cli.run(main)
