"""Motion files: trajectories as NPY, motions of motion capture as PKL, and the arm's motion in demonstrations.

NPY: one float array (T, 9 + n), a continuous trajectory, columns ``time | root_pos x y z | root_rot w x y z | joints |
transition_flag`` in seconds, metres, radians. It is cut into clips where the flag falls: a clip is its stable part and
the transition, flag 1, to the next clip.

PKL: a mapping of names to motions (``root_trans_offset``, ``root_rot`` x y z w, ``dof``, ``fps``), or one motion
(``root_pos``, ``root_rot`` x y z w, ``dof_pos``, ``fps``).
"""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from common.conventions import CONTROL_FREQUENCY
from common.files import replacing
from demos import safe_pickle
from demos.hdf5 import DemoReader
from demos.motion import Motion, MotionError, chosen, make_motion
from demos.spec import chosen_episodes, parse_specs

SUFFIXES = (".npy", ".pkl", ".hdf5")
DEFAULT_RATE = 30.0
"""Frames a second of motions that do not say."""
FIXED_COLUMNS = 9
"""of an NPY file, beside the joints: time, root, flag"""
_JOINTS = ("dof", "dof_pos")
_POSITIONS = ("root_trans_offset", "root_pos")

log = logging.getLogger("demos.motion_files")


def read_motions(path: str | Path) -> list[Motion]:
    """All motions of a file, NPY, PKL or demonstrations (HDF5), by its suffix; of a folder, those of all such files.

    Raises:
        MotionError: there is no such file, or it cannot be used; the text names file and row.
    """
    path = Path(path)
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.suffix in SUFFIXES)
        if not files:
            raise MotionError(f"there are no motions ({', '.join(SUFFIXES)}) in {path}")
        return [motion for file in files for motion in read_motions(file)]
    if not path.is_file():
        raise MotionError(f"there is no motion file {path}")
    if path.suffix == ".npy":
        return read_npy(path)
    if path.suffix == ".pkl":
        return read_pkl(path)
    if path.suffix == ".hdf5":
        return read_demonstrations(path)
    raise MotionError(f"{path} is none of the motion files {', '.join(SUFFIXES)}; its suffix says which it is")


def read_datasets(
    datasets: str | Iterable[str], root: str | Path = "data/demos", selection: str | None = None
) -> list[Motion]:
    """The motions that a trainer names: ``libero_goal:traj0.9``, a share of each task's demonstrations in a folder of
    ``root``, or ``walk.npy``, ``clips/:traj-0.1``: a file or a folder of motion files, or a share of its motions.

    ``selection`` names some of them, as ``chosen`` has it.
    """
    if isinstance(datasets, str):
        datasets = datasets.strip().removeprefix("[").removesuffix("]").split(",")
    motions = []
    for dataset in (text.strip().strip("'\"") for text in datasets):
        name, _, rest = dataset.partition(":")
        folder = Path(root) / name
        if Path(name).suffix in SUFFIXES or Path(name).is_dir():
            found = read_motions(name)
            share = parse_specs(f"x:{rest}")[0].share("traj") if rest else 1.0
            motions += [found[number] for number in chosen_episodes(1.0 if share is None else share, len(found))]
        else:
            share = parse_specs(dataset)[0].share("traj")
            files = sorted(folder.glob("*_demo.hdf5"))
            if not files:
                raise MotionError(
                    f"{name} is no motion file ({', '.join(SUFFIXES)}), no folder of such files, and there are no "
                    f"demonstrations (*_demo.hdf5) in {folder}"
                )
            for file in files:
                found = read_demonstrations(file)
                motions += [found[number] for number in chosen_episodes(share or 0.0, len(found))]
    return chosen(motions, selection)


# -- NPY


def clip_starts(flags: np.ndarray) -> list[int]:
    """The first frames of the clips of a trajectory whose transition flags (T,) these are.

    >>> clip_starts(np.array([0, 0, 1, 1, 0, 0]))
    [0, 4]
    """
    falls = (flags[:-1] > 0.5) & (flags[1:] < 0.5)
    return [0, *(int(frame) + 1 for frame in np.flatnonzero(falls))]


def read_npy(path: str | Path) -> list[Motion]:
    """The clips of a trajectory, called ``motion_0``, ``motion_1`` and so on; those of one frame are left out."""
    try:
        array = np.load(path, allow_pickle=False)
    except ValueError as error:
        raise MotionError(f"{path} is no array of numbers, or damaged ({error})") from None
    return motions_of(array, str(path))


def motions_of(array: np.ndarray, source: str) -> list[Motion]:
    """The clips of an array that is laid out as an NPY file; ``source`` is what messages call it."""
    if not isinstance(array, np.ndarray) or array.ndim != 2 or array.dtype.kind not in "fiu":
        raise MotionError(f"{source}: a trajectory is an array of numbers (T, 9 + joints), not {_kind(array)}")
    if array.shape[1] <= FIXED_COLUMNS:
        raise MotionError(
            f"{source}: {array.shape[1]} columns; time, the root's position (3) and quaternion (4), the joints and the "
            "transition flag are at least 10"
        )
    array = array.astype(np.float64)
    wrong = np.flatnonzero(~np.isfinite(array).all(1))
    if len(wrong):
        raise MotionError(f"{source}, row {wrong[0]}: not all numbers are finite ({len(wrong)} such rows)")
    starts = clip_starts(array[:, -1])
    motions = []
    for index, (first, end) in enumerate(zip(starts, [*starts[1:], len(array)], strict=True)):
        rows, where = array[first:end], f"{source} rows {first} to {end - 1}"
        if len(rows) < 2:
            log.warning("%s: a clip of %d frame is left out", where, len(rows))
            continue
        steps = np.diff(rows[:, 0])
        if (steps <= 0).any():
            row = first + int(np.argmax(steps <= 0)) + 1
            raise MotionError(
                f"{source}, row {row}: time does not go on ({array[row - 1, 0]:g} s, {array[row, 0]:g} s)"
            )
        motions.append(
            make_motion(
                f"motion_{index}",
                1 / float(steps.mean()),
                rows[:, 8:-1],
                rows[:, 1:4],
                rows[:, [5, 6, 7, 4]],
                rows[:, -1] >= 0.5,
                where,
                first,
            )
        )
    return motions


def to_array(motions: Iterable[Motion]) -> np.ndarray:
    """Motions of equally many joints one after the other, as an NPY file has them (T, 9 + n) float64.

    A motion without a transition ends with its last frame as one, so that reading finds the same motions again.
    """
    parts, began = [], 0.0
    for motion in motions:
        times = began + np.arange(len(motion)) / motion.frame_rate
        flags = motion.transition.astype(np.float64)
        flags[0], flags[-1] = 0.0, 1.0
        root_rot = motion.root_rot[:, [3, 0, 1, 2]]
        parts.append(np.column_stack([times, motion.root_pos, root_rot, motion.joints, flags]))
        began = times[-1] + 1 / motion.frame_rate
    return np.concatenate(parts)


def write_npy(path: str | Path, motions: Iterable[Motion]) -> None:
    """Writes motions as one NPY file."""
    with replacing(path) as temporary, open(temporary, "wb") as file:
        np.save(file, to_array(motions))


# -- PKL


def read_pkl(path: str | Path) -> list[Motion]:
    """The motions of a file of motion capture, plain pickle or joblib's, in the order of the file.

    A motion without ``dof`` has the positions of its ``smpl_joints`` (T, j, 3) as joint channels.
    """
    found = safe_pickle.load(path)
    if not isinstance(found, Mapping) or not found:
        raise MotionError(f"{path}: motions are a mapping of names to motions, or one motion, not {_kind(found)}")
    if any(name in found for name in (*_POSITIONS, *_JOINTS)):
        return [_of_mapping(Path(path).stem, found, str(path))]
    return [_of_mapping(str(name), motion, f"{path}: {name}") for name, motion in found.items()]


def _of_mapping(name: str, motion: Any, source: str) -> Motion:
    if not isinstance(motion, Mapping):
        raise MotionError(f"{source}: a motion is a mapping, not {_kind(motion)}")

    def first_of(keys: tuple[str, ...]) -> Any:
        return next((np.asarray(motion[key]) for key in keys if motion.get(key) is not None), None)

    joints, root_pos, root_rot = first_of(_JOINTS), first_of(_POSITIONS), first_of(("root_rot",))
    if joints is None and motion.get("smpl_joints") is not None:
        smpl = np.asarray(motion["smpl_joints"])
        joints = smpl.reshape(len(smpl), -1) if smpl.ndim else smpl
    if joints is None or root_pos is None or root_rot is None:
        lacking = [
            keys
            for keys, array in (("dof", joints), ("root_trans_offset", root_pos), ("root_rot", root_rot))
            if array is None
        ]
        raise MotionError(f"{source}: it has no {lacking[0]}; there are {', '.join(map(str, motion))}")
    try:
        rate = float(motion.get("fps", DEFAULT_RATE))
    except (TypeError, ValueError):
        raise MotionError(f"{source}: fps is {motion['fps']!r}, not a number") from None
    return make_motion(name, rate, joints, root_pos, root_rot, source=source)


# -- demonstrations


def read_demonstrations(path: str | Path) -> list[Motion]:
    """How the arm moved in each demonstration of a file, ours or LIBERO's; the root stands at the origin.

    A robot's recording also has what its grippers were told.
    """
    path, motions = Path(path), []
    with DemoReader(path) as reader:
        for index, demo in enumerate(reader.names):
            joints = np.asarray(reader.read(index, "joint_states"))
            motion = make_motion(f"{path.stem}/{demo}", CONTROL_FREQUENCY, joints, source=f"{path}: {demo}")
            told = reader.read(index, "openings").astype(np.float32) if reader.has(index, "openings") else None
            motions.append(replace(motion, openings=told))
    return motions


def _kind(value: Any) -> str:
    return f"{value.dtype} {value.shape}" if isinstance(value, np.ndarray) else type(value).__name__
