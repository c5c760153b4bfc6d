"""Motion of a whole body as the Nymeria data set stores it: head pose and 23 segments of an XSens suit, in the world.

Files are HDF5, one an action: ``cpf_translation`` (t, 3) and ``cpf_orientation`` (t, 3, 3), the pose of the head (the
central pupil frame of Aria glasses: x left, y up, z ahead), ``joint_translation`` (t, 23, 3) and ``joint_orientation``
(t, 23, 3, 3); metres, a world with z up, columns are axes in it. Real files are compressed with LZ4, which h5py reads
with ``pip install hdf5plugin``.
"""

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from common.errors import UserError
from common.files import replacing

FRAME_RATE = 30.0
JOINTS = (
    *("Pelvis", "L5", "L3", "T12", "T8", "Neck", "Head"),
    *("R_Shoulder", "R_UpperArm", "R_Forearm", "R_Hand", "L_Shoulder", "L_UpperArm", "L_Forearm", "L_Hand"),
    *("R_UpperLeg", "R_LowerLeg", "R_Foot", "R_Toe", "L_UpperLeg", "L_LowerLeg", "L_Foot", "L_Toe"),
)
PARENTS = (-1, 0, 1, 2, 3, 4, 5, 4, 7, 8, 9, 4, 11, 12, 13, 0, 15, 16, 17, 0, 19, 20, 21)
"""Of each joint the one that it hangs on; -1 for none."""
_FIELDS = {
    "head_position": ("cpf_translation", (3,)),
    "head_rotation": ("cpf_orientation", (3, 3)),
    "joint_positions": ("joint_translation", (len(JOINTS), 3)),
    "joint_rotations": ("joint_orientation", (len(JOINTS), 3, 3)),
}
_NOT_A_ROTATION = 1e-2


class BodyMotionError(UserError):
    """A file of body motion is not what it should be; says which file, dataset and frame, and what is wrong there."""


@dataclass(frozen=True, eq=False)
class BodyMotion:
    """``head_position`` (t, 3) m, ``head_rotation`` (t, 3, 3), ``joint_positions`` (t, j, 3) m, ``joint_rotations``
    (t, j, 3, 3), float32; ``sequence`` names the recording, of which one person's actions are parts."""

    head_position: np.ndarray
    head_rotation: np.ndarray
    joint_positions: np.ndarray
    joint_rotations: np.ndarray
    sequence: str = ""
    source: str = ""
    frame_rate: float = FRAME_RATE

    def __len__(self) -> int:
        return len(self.head_position)


def read_body_motion(path: str | Path) -> BodyMotion:
    """A file's motion.

    Raises:
        BodyMotionError: it is no such file, cannot be read, or holds what is no motion.
    """
    path = Path(path)
    with contextlib.suppress(ImportError):  # registers LZ4 with h5py; without it compressed files say what they need
        import hdf5plugin  # noqa: F401
    try:
        with h5py.File(path) as file:
            arrays = {name: _read(path, file, key) for name, (key, _) in _FIELDS.items()}
            stamps = _read(path, file, "timestamp_ns") if "timestamp_ns" in file else np.zeros(0, np.int64)
            sequence = str(file.attrs.get("sequence_name", path.stem.rpartition("_")[0]))
    except FileNotFoundError:
        raise BodyMotionError(f"no file at {path}") from None
    except OSError as error:
        raise BodyMotionError(f"{path} is no HDF5 file, or damaged ({error})") from None
    frames = len(arrays["head_position"])
    for name, (key, shape) in _FIELDS.items():
        _check(path, key, arrays[name], (frames, *shape))
    if stamps.shape not in ((0,), (frames,)):
        raise BodyMotionError(f"{path}: timestamp_ns has shape {stamps.shape}, expected ({frames},)")
    if (backwards := np.flatnonzero(np.diff(stamps) <= 0)).size:
        raise BodyMotionError(f"{path}: timestamp_ns does not grow at frame {backwards[0] + 1}")
    single = {name: values.astype(np.float32) for name, values in arrays.items()}
    return BodyMotion(
        single["head_position"],
        single["head_rotation"],
        single["joint_positions"],
        single["joint_rotations"],
        sequence,
        str(path),
        frame_rate=_frame_rate(stamps),
    )


def _read(path: Path, file: h5py.File, key: str) -> np.ndarray:
    dataset = file.get(key)
    if not isinstance(dataset, h5py.Dataset) or not np.issubdtype(dataset.dtype, np.number):
        raise BodyMotionError(f"{path} has no {key} of numbers; it is no file of body motion")
    try:
        return np.atleast_1d(dataset[()])
    except OSError as error:
        raise BodyMotionError(
            f"{path}: {key} cannot be read ({error}); real Nymeria files need 'pip install hdf5plugin'"
        ) from None


def _frame_rate(stamps: np.ndarray) -> float:
    """Frames a second by the time stamps (ns), which are rounded; without them Nymeria's."""
    return round(1e9 / float(np.median(np.diff(stamps))), 2) if len(stamps) > 1 else FRAME_RATE


def _check(path: Path, key: str, values: np.ndarray, shape: tuple[int, ...]) -> None:
    if values.shape != shape or not len(values):
        raise BodyMotionError(f"{path}: {key} has shape {values.shape}, expected {shape} with at least one frame")
    if (bad := np.flatnonzero(~np.isfinite(values).all(axis=tuple(range(1, values.ndim))))).size:
        raise BodyMotionError(f"{path}: {key} is not finite in frame {bad[0]}")
    if values.shape[-2:] == (3, 3):
        off = np.abs(values.mT @ values - np.eye(3)).max(axis=tuple(range(1, values.ndim)))
        handed = np.linalg.det(values).reshape(len(values), -1).min(axis=1)
        if (bad := np.flatnonzero((off > _NOT_A_ROTATION) | (handed < 0))).size:
            raise BodyMotionError(f"{path}: {key} is no rotation in frame {bad[0]}")


def write_body_motion(path: Path, motion: BodyMotion, action: str = "") -> None:
    """Writes a file that ``read_body_motion`` and Nymeria's own loaders read; uncompressed."""
    with replacing(path) as temporary, h5py.File(temporary, "w") as file:
        for name, (key, _) in _FIELDS.items():
            file[key] = getattr(motion, name).astype(np.float64)
        file["root_translation"] = motion.joint_positions[:, 0].astype(np.float64)
        file["root_orientation"] = motion.joint_rotations[:, 0].astype(np.float64)
        file["timestamp_ns"] = (np.arange(len(motion)) * (1e9 / motion.frame_rate)).astype(np.int64)
        file["contact_information"] = np.zeros((len(motion), 4))
        file.attrs.update(
            sequence_name=motion.sequence, start_idx=0, end_idx=len(motion) - 1, atomic_action=action,
            num_frames=len(motion),
        )  # fmt: skip


def body_motion_files(datasets: Iterable[str]) -> list[Path]:
    """The files of folders and single files, those of a folder (``*.h5``, ``*.hdf5``) in the order of their names.

    Raises:
        BodyMotionError: there is nothing.
    """
    found: list[Path] = []
    for name in datasets:
        path = Path(name)
        files = sorted([*path.glob("*.h5"), *path.glob("*.hdf5")], key=str) if path.is_dir() else [path]
        if not files or not files[0].exists():
            raise BodyMotionError(f"no body motion at {path}; make some with 'python -m demos.synthetic_body {path}'")
        found += files
    return found
