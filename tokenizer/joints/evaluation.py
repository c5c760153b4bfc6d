"""What a joint tokenizer keeps of motions: every measure after encoding, decoding and rebuilding the motion."""

from collections.abc import Iterable

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from scipy.spatial.transform import Rotation

from demos.forward_kinematics import Kinematics
from demos.motion import Motion
from tokenizer.code_usage import code_usage
from tokenizer.joints.clips import Clip
from tokenizer.joints.codes import (
    columns_of,
    counts_of,
    decode_clip,
    decode_windows,
    encode_clip,
    encode_windows,
)
from tokenizer.joints.features import motion_of
from tokenizer.joints.model import JointTokenizer

Measures = dict[str, float]


def feature_errors(tokenizer: JointTokenizer, rebuilt: np.ndarray, truth: np.ndarray) -> Measures:
    """Of features (t, d): errors of the root's columns, of joints (rad) and their velocities (rad/s), and of all.

    ``_rmse`` are roots of means of squares over frames and columns, ``_mae`` means of absolute values.
    """
    columns, error = columns_of(tokenizer), rebuilt.astype(np.float64) - truth
    names = ("root_dx", "root_dy", "root_dz", "root_dyaw")
    measures: Measures = {}
    if tokenizer.config.features.layout == "delta":
        for name, column in zip(names, error[:, columns.root_moves].T, strict=True):
            measures |= {f"{name}_rmse": _rms(column), f"{name}_mae": float(np.abs(column).mean())}
    return measures | {
        "root_moves_rmse": _rms(error[:, columns.root_moves]),
        "joint_rmse_rad": _rms(error[:, columns.joints]),
        "joint_max_rad": float(np.abs(error[:, columns.joints]).max()),
        "joint_velocity_rmse": _rms(error[:, columns.joint_velocities]),
        "all_rmse": _rms(error),
    }


def motion_errors(rebuilt: Motion, truth: Motion, kinematics: Kinematics | None = None) -> Measures:
    """Of motions that begin alike: how far the root is off (m, rad), on average and in the end; and with kinematics how
    far its points are (mm): MPJPE with the root where it is, and in the root's own frame."""
    off = np.linalg.norm(rebuilt.root_pos - truth.root_pos, axis=1)
    turns = [Rotation.from_quat(motion.root_rot.astype(np.float64)) for motion in (rebuilt, truth)]
    turned = (turns[0] * turns[1].inv()).magnitude()
    measures = {"root_m": float(off.mean()), "root_end_m": float(off[-1]), "root_rad": float(turned.mean())}
    speed = [np.diff(motion.joints, axis=0) * motion.frame_rate for motion in (rebuilt, truth)]
    measures["velocity_rmse"] = _rms(speed[0] - speed[1])
    if kinematics is not None:
        places = [kinematics(motion) for motion in (rebuilt, truth)]
        local = [
            np.stack([turn[i].inv().apply(p[i] - motion.root_pos[i]) for i in range(len(p))])
            for turn, p, motion in zip(turns, places, (rebuilt, truth), strict=True)
        ]
        measures["mpjpe_mm"] = float(np.linalg.norm(places[0] - places[1], axis=-1).mean() * 1e3)
        measures["local_mpjpe_mm"] = float(np.linalg.norm(local[0] - local[1], axis=-1).mean() * 1e3)
        last = np.linalg.norm(places[0][:, -1] - places[1][:, -1], axis=-1) * 1e3
        measures |= {"end_effector_mm": float(last.mean()), "end_effector_max_mm": float(last.max())}
    return measures


def evaluate(
    tokenizer: JointTokenizer, clips: Iterable[Clip], kinematics: Kinematics | None = None, windowed: bool = False
) -> dict[str, Measures]:
    """``motion``: means over the clips, of errors that end in ``rmse`` roots of mean squares, weighted by frames; those
    that say ``max`` are the largest. ``codes``: how the codes are used.

    ``windowed``: each window is encoded for itself, as in training, instead of each clip in one piece.
    """
    found: list[Measures] = []
    frames: list[int] = []
    counts: torch.Tensor | int = 0
    console = Console(stderr=True)
    for clip in track(list(clips), "clips", console=console, disable=not console.is_terminal):
        count, encode = len(clip.features), encode_windows if windowed else encode_clip
        codes = encode(tokenizer, clip.features)
        rebuilt = decode_windows(tokenizer, codes, count) if windowed else decode_clip(tokenizer, codes, count)
        motion = motion_of(rebuilt, tokenizer.config.features, tokenizer.frame_rate, clip.motion.name, clip.motion)
        errors = feature_errors(tokenizer, rebuilt, clip.features)
        found.append(errors | motion_errors(motion, clip.motion, kinematics))
        frames.append(count)
        counts = counts + counts_of(tokenizer, codes)
    return {"motion": _together(found, frames), "codes": code_usage(torch.as_tensor(counts))}


def _together(found: list[Measures], frames: list[int]) -> Measures:
    together = {}
    for name in found[0]:
        values = np.array([measures[name] for measures in found])
        if "max" in name:
            together[name] = float(values.max())
        elif "rmse" in name:
            together[name] = float(np.sqrt(np.average(values**2, weights=frames)))
        else:
            together[name] = float(np.average(values, weights=frames))
    return together


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.square(values).mean()))
