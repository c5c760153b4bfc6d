"""The numbers of a motion that are tokenized, and the motion back from them.

A frame of n joints, velocities taken between it and the next:

layout delta (4 + 2 n): displacement a frame in the root's frame (3, m) and about z (rad); joints (n, rad); their
velocities (n, rad/s). Where the motion starts, roll, pitch and absolute height are not in it.

layout state (13 + 2 n; 12 + 2 n with prefer_expmap): the root's position (3, m), rotation (4, x y z w, or rotation
vector 3), velocity (3, m/s) and angular velocity (3, rad/s) in the world's frame; joints; their velocities.
"""

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from demos.motion import Motion, continuous, make_motion
from tokenizer.joints.options import FeatureConfig, Smoothing

SMOOTHED = 19
"""Frames over which velocities are averaged."""


@dataclass(frozen=True)
class Columns:
    """Which columns of a frame's features hold what. ``root_moves`` are the root's velocities, or displacements."""

    width: int
    root_pose: slice
    root_moves: slice
    joints: slice
    joint_velocities: slice

    @classmethod
    def of(cls, c: FeatureConfig, joints: int) -> "Columns":
        """Those of features of so many joints."""
        pose = 0 if c.layout == "delta" else 6 if c.prefer_expmap else 7
        moves = pose + (4 if c.layout == "delta" else 6)
        ends = moves + joints, moves + 2 * joints
        return cls(ends[1], slice(0, pose), slice(pose, moves), slice(moves, ends[0]), slice(*ends))

    @property
    def stand_still(self) -> tuple[slice, slice]:
        """The columns that are 0 where nothing moves."""
        return self.root_moves, self.joint_velocities


def joints_of_width(c: FeatureConfig, width: int) -> int:
    """How many joints features of this width are of."""
    return (width - Columns.of(c, 0).width) // 2


def smoothed(values: np.ndarray, how: Smoothing) -> np.ndarray:
    """The mean (t, d) over ``SMOOTHED`` frames around each; ``source`` counts frames beyond the clip as zeros."""
    if how == "off":
        return values
    sums = np.cumsum(np.concatenate([np.zeros((1, values.shape[1])), values]), axis=0)
    frames, reach = np.arange(len(values)), SMOOTHED // 2
    first, end = np.maximum(frames - reach, 0), np.minimum(frames + reach + 1, len(values))
    count = np.full_like(frames, SMOOTHED) if how == "source" else end - first
    return (sums[end] - sums[first]) / count[:, None]


@dataclass(frozen=True)
class Velocities:
    """Of the root (t, 3) m/s and (t, 3) rad/s, world's frame, and of the joints (t, n) rad/s."""

    linear: np.ndarray
    angular: np.ndarray
    joints: np.ndarray


def velocities(motion: Motion, c: FeatureConfig) -> Velocities:
    """From each frame to the next, smoothed as the options say; the last frame has those of the one before."""

    def differences(values: np.ndarray) -> np.ndarray:
        return np.diff(values.astype(np.float64), axis=0)

    rotation = Rotation.from_quat(motion.root_rot.astype(np.float64))
    moves = [
        (differences(motion.root_pos), c.smooth_root),
        ((rotation[1:] * rotation[:-1].inv()).as_rotvec(), c.smooth_root),
        (differences(motion.joints), c.smooth_joints),
    ]
    return Velocities(*(smoothed(np.concatenate([v, v[-1:]]) * motion.frame_rate, how) for v, how in moves))


def features_of(motion: Motion, c: FeatureConfig) -> np.ndarray:
    """The features (t, d) float32 of a motion that has been through the joint map already."""
    found = velocities(motion, c)
    rotation = Rotation.from_quat(motion.root_rot.astype(np.float64))
    if c.layout == "delta":
        to_root = rotation.inv()
        yaw = to_root.apply(found.angular)[:, 2:]
        parts = [to_root.apply(found.linear) / motion.frame_rate, yaw / motion.frame_rate]
    else:
        pose = rotation.as_rotvec() if c.prefer_expmap else continuous(motion.root_rot)
        parts = [motion.root_pos, pose, found.linear, found.angular]
    return np.concatenate([*parts, motion.joints, found.joints], axis=1).astype(np.float32)


def heading(quaternions: np.ndarray) -> np.ndarray:
    """Rotation about z (...,), rad, of quaternions (..., 4), x y z w."""
    x, y, z, w = np.moveaxis(np.asarray(quaternions, np.float64), -1, 0)
    return np.arctan2(2 * (w * z + x * y), 1 - 2 * (y**2 + z**2))


def integrate(deltas: np.ndarray, start_pos: np.ndarray, start_yaw: float) -> tuple[np.ndarray, np.ndarray]:
    """Positions (t, 3) and quaternions (t, 4), x y z w, of a root that stands upright and moves by ``deltas`` (t, 4).

    Row k leads from frame k to frame k + 1, so the last one leads nowhere.
    """
    steps = np.asarray(deltas[:-1], np.float64)
    yaw = start_yaw + np.concatenate([[0.0], np.cumsum(steps[:, 3])])
    turn = Rotation.from_euler("z", yaw[:, None])
    positions = np.asarray(start_pos) + np.concatenate([np.zeros((1, 3)), np.cumsum(turn[:-1].apply(steps[:, :3]), 0)])
    return positions, turn.as_quat()


def motion_of(
    features: np.ndarray, c: FeatureConfig, frame_rate: float, name: str = "decoded", start: Motion | None = None
) -> Motion:
    """The motion whose features (t, d), t at least 2, these are; velocities are not looked at where there are poses.

    With layout delta it begins where ``start`` does, else at the origin; the root stands upright.
    """
    columns = Columns.of(c, joints_of_width(c, features.shape[1]))
    if c.layout == "delta":
        position, yaw = np.zeros(3), 0.0
        if start is not None:
            position, yaw = start.root_pos[0].astype(np.float64), float(heading(start.root_rot[0]))
        root_pos, root_rot = integrate(features[:, columns.root_moves], position, yaw)
    else:
        pose = features[:, columns.root_pose].astype(np.float64)
        rotation = Rotation.from_rotvec(pose[:, 3:]) if c.prefer_expmap else Rotation.from_quat(_nonzero(pose[:, 3:]))
        root_pos, root_rot = pose[:, :3], rotation.as_quat()
    return make_motion(name, frame_rate, features[:, columns.joints], root_pos, root_rot)


def _nonzero(quaternions: np.ndarray) -> np.ndarray:
    """No rotation in place of quaternions without a direction."""
    return np.where(np.linalg.norm(quaternions, axis=1, keepdims=True) < 1e-6, [0.0, 0.0, 0.0, 1.0], quaternions)
