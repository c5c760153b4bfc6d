"""Motions: how the root and the joints of a robot or a person move, without images.

Quaternions are x, y, z, w; frames of the world are metres, z up.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.spatial.transform import Rotation, Slerp

from common.errors import UserError
from common.joint_map import JointMap

UNIT = 1e-2
"""How far from 1 the length of a quaternion may be."""


class MotionError(UserError):
    """A motion that cannot be used; the text names file and row."""


@dataclass(frozen=True, eq=False)
class Motion:
    """One clip of T frames, ``frame_rate`` (Hz) a second, T at least 2.

    root_pos (T, 3) m; root_rot (T, 4) unit quaternions; joints (T, n) rad, or whatever else a frame's joint channels
    hold; all float32. ``transition`` (T,) marks the frames that lead over to the next clip of a trajectory.
    ``openings`` (T, g) float32 is where a robot's grippers were told to be, in its drivers' units, where that is known.
    """

    name: str
    frame_rate: float
    root_pos: np.ndarray
    root_rot: np.ndarray
    joints: np.ndarray
    transition: np.ndarray
    source: str = ""
    """file and rows, for messages"""
    openings: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.joints)

    @property
    def seconds(self) -> float:
        """From the first frame to the last."""
        return (len(self) - 1) / self.frame_rate

    @property
    def stable_seconds(self) -> float:
        """From the first to the last of the frames that lead nowhere else, if these came first."""
        return max(int((~self.transition).sum()) - 1, 0) / self.frame_rate

    @property
    def transition_seconds(self) -> float:
        """The rest."""
        return int(self.transition.sum()) / self.frame_rate


def make_motion(
    name: str,
    frame_rate: float,
    joints: np.ndarray,
    root_pos: np.ndarray | None = None,
    root_rot: np.ndarray | None = None,
    transition: np.ndarray | None = None,
    source: str = "",
    first_row: int = 0,
) -> Motion:
    """A checked motion of arrays of any float type; without a root it stands at the origin.

    Raises:
        MotionError: fewer than two frames, rows that are not finite, arrays of different lengths, a quaternion that is
            no rotation; rows count from ``first_row``.
    """
    source = source or name
    joints = _rows(joints, "the joints", None, source, first_row)
    frames = len(joints)
    if frames < 2:
        raise MotionError(f"{source}: a motion has at least 2 frames, this one {frames}")
    if not (np.isfinite(frame_rate) and frame_rate > 0):
        raise MotionError(f"{source}: {frame_rate} is no frame rate; it must be above 0 frames a second")
    still = np.tile(np.array([0, 0, 0, 1], np.float32), (frames, 1))
    root_pos = np.zeros((frames, 3), np.float32) if root_pos is None else root_pos
    root_pos = _rows(root_pos, "the root's position", 3, source, first_row)
    root_rot = _rows(still if root_rot is None else root_rot, "the root's rotation", 4, source, first_row)
    for what, array in (("positions", root_pos), ("rotations", root_rot)):
        if len(array) != frames:
            raise MotionError(
                f"{source}: {len(array)} {what} of the root, {frames} rows of joints; they must be as many"
            )
    wrong = np.flatnonzero(np.abs(np.linalg.norm(root_rot, axis=1) - 1) > UNIT)
    if len(wrong):
        row = wrong[0]
        raise MotionError(
            f"{source}, row {first_row + row}: the root's quaternion {root_rot[row].round(4).tolist()} (x y z w) has "
            f"length {np.linalg.norm(root_rot[row]):.4g} and is no rotation; it must be 1"
        )
    flags = np.zeros(frames, bool) if transition is None else np.asarray(transition, bool)
    return Motion(name, float(frame_rate), root_pos, root_rot, joints, flags, source)


def resampled(motion: Motion, frame_rate: float) -> Motion:
    """The motion at another frame rate: positions and joints linearly, rotations along the shorter arc; grippers are
    told what they were told last.

    It begins with the same frame and is as long, up to a part of a frame.
    """
    if frame_rate == motion.frame_rate:
        return motion
    if not (np.isfinite(frame_rate) and frame_rate > 0):
        raise MotionError(f"{frame_rate} is no frame rate; it must be above 0 frames a second")
    frames = max(int(motion.seconds * frame_rate + 1e-6), 1) + 1
    return sampled(motion, np.minimum(np.arange(frames) / frame_rate, motion.seconds), frame_rate)


def sampled(motion: Motion, times: np.ndarray, frame_rate: float) -> Motion:
    """The motion at ``times`` (t,) s from its first frame, before and after which it stands still."""
    at = np.clip(np.asarray(times, np.float64) * motion.frame_rate, 0, len(motion) - 1)
    before = np.minimum(at.astype(np.int64), len(motion) - 2)
    share = (at - before)[:, None]

    def between(values: np.ndarray) -> np.ndarray:
        return ((1 - share) * values[before] + share * values[before + 1]).astype(np.float32)

    rotation = Slerp(np.arange(len(motion)), Rotation.from_quat(motion.root_rot.astype(np.float64)))(at)
    return replace(
        motion,
        frame_rate=float(frame_rate),
        root_pos=between(motion.root_pos),
        root_rot=continuous(rotation.as_quat()).astype(np.float32),
        joints=between(motion.joints),
        transition=motion.transition[np.round(at).astype(np.int64)],
        openings=None if motion.openings is None else motion.openings[at.astype(np.int64)],
    )


def continuous(quaternions: np.ndarray) -> np.ndarray:
    """The same rotations (t, 4), their signs such that neighbours are near each other."""
    turned = np.sign((quaternions[1:] * quaternions[:-1]).sum(-1))
    return quaternions * np.concatenate([[1.0], np.cumprod(np.where(turned == 0, 1.0, turned))])[:, None]


def on_the_robot(motion: Motion, joint_map: JointMap, reference: np.ndarray | None = None) -> Motion:
    """The motion with the robot's joints (T, real_dof), rad, in place of the simulator's.

    Those that the map does not name are where ``reference`` (real_dof,), rad, has them, else 0.

    Raises:
        MotionError: the motion has not as many joints as the map is for.
    """
    if motion.joints.shape[1] != joint_map.sim_dof:
        raise MotionError(
            f"{motion.source}: {motion.joints.shape[1]} joints, sim_to_real_idx has {joint_map.sim_dof} entries; there "
            "must be one for each"
        )
    stay = np.zeros(joint_map.real_dof) if reference is None else np.asarray(reference)
    mapped = joint_map.to_real(motion.joints, stay * joint_map.per_radian) / joint_map.per_radian
    return replace(motion, joints=mapped.astype(np.float32))


def chosen(motions: Sequence[Motion], selection: str | None) -> list[Motion]:
    """Those of ``motions`` that are named: all for None, numbers and ranges (``0,2,5-12``, in order), or names.

    Raises:
        MotionError: a number or a name that there is not.
    """
    if selection is None:
        return list(motions)
    parts = [part.strip() for part in selection.split(",") if part.strip()]
    if all(re.fullmatch(r"\d+(-\d+)?", part) for part in parts):
        numbers: set[int] = set()
        for part in parts:
            first, _, last = part.partition("-")
            numbers.update(range(int(first), int(last or first) + 1))
        if beyond := [number for number in sorted(numbers) if number >= len(motions)]:
            raise MotionError(f"there is no motion {beyond[0]}; there are {len(motions)}, the first is 0")
        return [motions[number] for number in sorted(numbers)]
    names = {motion.name for motion in motions}
    if unknown := [part for part in parts if part not in names]:
        raise MotionError(f"there is no motion {unknown[0]!r}; there are {', '.join(sorted(names)[:20])}")
    return [motion for motion in motions if motion.name in parts]


def _rows(values: np.ndarray, what: str, width: int | None, source: str, first_row: int) -> np.ndarray:
    """The array as (T, width) float32, every row finite."""
    array = np.asarray(values)
    if array.ndim != 2 or array.dtype.kind not in "fiu" or (array.shape[1] != width if width else not array.shape[1]):
        wanted = f"(T, {width})" if width else "(T, n)"
        raise MotionError(f"{source}: {what} must be numbers {wanted}, not {array.dtype} {array.shape}")
    wrong = np.flatnonzero(~np.isfinite(array).all(1))
    if len(wrong):
        raise MotionError(f"{source}, row {first_row + wrong[0]}: {what} are not finite ({len(wrong)} such rows)")
    return array.astype(np.float32)
