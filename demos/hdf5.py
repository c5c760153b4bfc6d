"""Demonstrations on disk: the HDF5 layout of LIBERO and robomimic, one file a task, ``<task>_demo.hdf5``.

On disk images are upside down, as OpenGL renders them and as LIBERO's own files are; in an ``Episode`` they are
upright. Files written here open in LIBERO's and robomimic's readers, and theirs open here.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from common.errors import UserError
from common.files import locked, replacing
from demos.language import language_of


class DemoFileError(UserError):
    """A demonstration file that is missing, cut short, or not of the expected layout."""


@dataclass(frozen=True)
class Array:
    """Where an episode's array lives in ``data/demo_i``, its shape after the time axis, and its type on disk."""

    key: str
    shape: tuple[int | None, ...]
    dtype: str = "float64"
    optional: bool = False
    """LIBERO's own files lack it."""

    def fits(self, shape: tuple[int, ...]) -> bool:
        """Whether an array of this ``shape`` (with time) may be stored here."""
        return len(shape) == 1 + len(self.shape) and all(
            want in (None, have) for want, have in zip(self.shape, shape[1:], strict=True)
        )


ARRAYS: dict[str, Array] = {
    "actions": Array("actions", (None,)),
    "states": Array("states", (None,)),
    "robot_states": Array("robot_states", (None,)),
    "rewards": Array("rewards", (), "uint8"),
    "dones": Array("dones", (), "uint8"),
    "agentview_rgb": Array("obs/agentview_rgb", (None, None, 3), "uint8"),
    "eye_in_hand_rgb": Array("obs/eye_in_hand_rgb", (None, None, 3), "uint8"),
    "joint_states": Array("obs/joint_states", (None,)),
    "gripper_states": Array("obs/gripper_states", (None,)),
    "ee_pos": Array("obs/ee_pos", (3,)),
    "ee_ori": Array("obs/ee_ori", (3,)),
    "actions_executed": Array("actions_executed", (7,), optional=True),
    "phases": Array("phases", (), "uint8", optional=True),
    "openings": Array("robot/opening", (None,), optional=True),
}


@dataclass(frozen=True, eq=False)
class Episode:
    """One demonstration of T control steps at 20 Hz; row t is the observation in which action t was chosen.

    actions (T, 7) in [-1, 1]; states (T, S) flattened MuJoCo states; robot_states (T, 9) = gripper positions (2),
    end-effector position (3) and quaternion (4, xyzw); rewards, dones (T,) 0 or 1; images (T, h, w, 3) uint8,
    upright RGB; joint_states (T, 7) rad; gripper_states (T, 2) m; ee_pos (T, 3) m; ee_ori (T, 3) axis-angle, rad.
    These are LIBERO's widths; another robot has other actions, joints and fingers, the same in a whole file.

    ``actions_executed`` (T, 7) is what the simulator was really given, noise included, where that is known: from the
    first state they lead to the others, ``actions`` (what the expert wanted) do not. ``phases`` (T,) uint8 are the
    numbers of what the hand was doing, where that is known, in the attribute ``phase_names`` (joined by commas).
    ``openings`` (T, g) is where a robot's grippers were told to be, in their drivers' units, where one was recorded.

    ``attributes`` are numbers, strings or small arrays kept with the episode: seed, noise, versions, ``model_file``.
    """

    actions: np.ndarray
    states: np.ndarray
    robot_states: np.ndarray
    rewards: np.ndarray
    dones: np.ndarray
    agentview_rgb: np.ndarray
    eye_in_hand_rgb: np.ndarray
    joint_states: np.ndarray
    gripper_states: np.ndarray
    ee_pos: np.ndarray
    ee_ori: np.ndarray
    actions_executed: np.ndarray | None = None
    phases: np.ndarray | None = None
    openings: np.ndarray | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, array in ARRAYS.items():
            if array.optional and getattr(self, name) is None:
                continue
            shape = np.shape(getattr(self, name))
            if not array.fits(shape) or shape[0] != len(self):
                raise ValueError(f"{name} has shape {shape}, expected {(len(self), *array.shape)}")

    def __len__(self) -> int:
        return len(self.actions)

    @property
    def ee_states(self) -> np.ndarray:
        """(T, 6) end-effector position (m) and axis-angle (rad), as LIBERO stores them side by side."""
        return np.concatenate([self.ee_pos, self.ee_ori], axis=1)

    @property
    def proprio(self) -> np.ndarray:
        """(T, 9) float32: joint positions (rad), then gripper finger positions (m)."""
        return np.concatenate([self.joint_states, self.gripper_states], axis=1).astype(np.float32)


assert {f.name for f in fields(Episode)} == {*ARRAYS, "attributes"}


@dataclass(frozen=True)
class DemoHeader:
    """What LIBERO and robomimic expect to read about the task and the environment of a demonstration file.

    ``env_kwargs`` are the keyword arguments that rebuild the environment (robots, controller, cameras, ...), and
    must survive JSON. ``problem_name`` is the environment's class name, e.g. ``libero_floor_manipulation``.
    """

    language: str
    problem_name: str
    bddl_file_name: str
    env_kwargs: Mapping[str, Any]
    bddl_file_content: str = ""
    domain_name: str = "robosuite"

    def attributes(self) -> dict[str, str]:
        """The attributes of the group ``data``, as LIBERO's ``create_dataset`` writes them."""
        env_args = {
            "type": 1,  # robomimic's EnvType.ROBOSUITE_TYPE
            "env_name": self.problem_name,
            "problem_name": self.problem_name,
            "bddl_file": self.bddl_file_name,
            "env_kwargs": dict(self.env_kwargs),
        }
        problem_info = {
            "problem_name": self.problem_name,
            "domain_name": self.domain_name,
            "language_instruction": self.language,
        }
        return {
            "env_name": self.problem_name,
            "env_args": json.dumps(env_args),
            "problem_info": json.dumps(problem_info),
            "bddl_file_name": self.bddl_file_name,
            "bddl_file_content": self.bddl_file_content,
            "macros_image_convention": "opengl",
            "tag": "libero-v1",
        }


class DemoWriter:
    """Collects the episodes of one task, safely against being killed at any moment and shared between processes.

    Every finished episode is at once a small file of its own, ``<task>_demo.parts/demo_k.hdf5``, complete or absent.
    ``finish`` merges the parts into ``<task>_demo.hdf5`` in one atomic step; it may be called early and again. A new
    writer on the same path goes on where the last one stopped.

    >>> writer = DemoWriter("data/libero_10/open_drawer_demo.hdf5", header)       # doctest: +SKIP
    >>> writer.append(episode, before_publish=lambda k: tracks.write(k, ...))     # doctest: +SKIP
    0
    >>> writer.finish()                                                           # doctest: +SKIP
    """

    def __init__(self, path: str | Path, header: DemoHeader) -> None:
        self.path = Path(path)
        self.header = header
        self._parts = self.path.with_suffix(".parts")
        if self.path.exists():
            with DemoReader(self.path) as reader:
                if reader.language != header.language:
                    raise DemoFileError(
                        f"{self.path} holds demonstrations of '{reader.language}', not of '{header.language}'; "
                        "move it away or write to another folder"
                    )

    def __len__(self) -> int:
        """How many episodes are safe on disk, merged or not, from this and every other writer of the task."""
        return len(self._indices())

    def append(
        self,
        episode: Episode,
        before_publish: Callable[[int], None] | None = None,
        also: Callable[[h5py.Group], None] | None = None,
    ) -> int:
        """Store ``episode`` and return its index k; it exists when this returns, and not at all if it does not.

        ``before_publish(k)`` runs just before the episode appears, while no other process can take k: write there
        what must exist for every episode, such as its tracks. ``also(group)`` writes beside the episode's arrays.
        """
        with self._locked():
            index = max(self._indices(), default=-1) + 1
            with replacing(self._part(index)) as temporary:
                with h5py.File(temporary, "w") as file:
                    data = file.create_group("data")
                    data.attrs.update(self.header.attributes())
                    group = data.create_group(f"demo_{index}")
                    _write_episode(group, episode)
                    if also is not None:
                        also(group)
                    _write_totals(data)
                if before_publish is not None:
                    before_publish(index)
        return index

    def finish(self) -> Path:
        """Merge the parts into the task file and remove them; returns the task file's path."""
        with self._locked():
            sources = [path for path in (self.path, *map(self._part, self._part_indices())) if path.exists()]
            if not sources:
                raise DemoFileError(f"{self.path}: there is no episode to write")
            if sources != [self.path]:
                with replacing(self.path) as temporary, h5py.File(temporary, "w") as file:
                    data = file.create_group("data")
                    data.attrs.update(self.header.attributes())
                    for source in sources:
                        with h5py.File(source, "r") as part:
                            # A part that was merged before its removal was cut off is already there.
                            for name in _demo_names(part["data"]):
                                if name not in data:
                                    part.copy(f"data/{name}", data)
                    _write_totals(data)
            for leftover in (*self._parts.glob("demo_*.hdf5"), *self._parts.glob(".demo_*.tmp"), self._parts / ".lock"):
                leftover.unlink()  # the lock last: until then nobody else may look
            with suppress(OSError):  # another writer may already have begun the next episode
                self._parts.rmdir()
        return self.path

    def _locked(self) -> AbstractContextManager[None]:
        return locked(self._parts / ".lock")

    def _part(self, index: int) -> Path:
        return self._parts / f"demo_{index}.hdf5"

    def _part_indices(self) -> list[int]:
        return sorted(int(path.stem.removeprefix("demo_")) for path in self._parts.glob("demo_*.hdf5"))

    def _indices(self) -> set[int]:
        merged: set[int] = set()
        if self.path.exists():
            with DemoReader(self.path) as reader:
                merged = {int(name.removeprefix("demo_")) for name in reader.names}
        return merged | set(self._part_indices())


class DemoReader:
    """Reads a demonstration file, ours or LIBERO's, contiguous or compressed; episodes in numeric order.

    >>> reader = DemoReader("libero_10/open_drawer_demo.hdf5")    # doctest: +SKIP
    >>> reader[3].actions.shape                                   # doctest: +SKIP
    (218, 7)
    >>> reader.read(3, "agentview_rgb", slice(10, 20)).shape      # doctest: +SKIP
    (10, 128, 128, 3)
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._file = _open(self.path)
        try:
            data = self._file.get("data")
            if not isinstance(data, h5py.Group) or not (names := _demo_names(data)):
                raise DemoFileError(f"{self.path} is not a demonstration file: it has no group data/demo_0")
        except BaseException:
            self._file.close()
            raise
        self._data = data
        self._mapping: np.memmap | None = None
        self.names: list[str] = names

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Episode:
        return self.episode(index)

    def __iter__(self) -> Iterator[Episode]:
        return (self.episode(index) for index in range(len(self)))

    def __enter__(self) -> "DemoReader":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; arrays from ``mapped`` stay valid."""
        self._file.close()

    @property
    def attributes(self) -> dict[str, Any]:
        """The file's own attributes: ``env_args``, ``problem_info``, ``bddl_file_name``, ... as stored."""
        return dict(self._data.attrs)

    @property
    def language(self) -> str:
        """The instruction: the file's ``problem_info`` where it has one, else what the file's name says."""
        try:
            instruction = json.loads(self._data.attrs["problem_info"])["language_instruction"]
        except (KeyError, TypeError, ValueError):
            return language_of(self.path.stem)
        return "".join(instruction).strip()  # some LIBERO files hold a list of characters

    def attributes_of(self, index: int) -> dict[str, Any]:
        """The attributes of an episode, as ``Episode.attributes`` has them."""
        return dict(self._data[self.names[index]].attrs)

    @property
    def assets_digest(self) -> str | None:
        """The digest of the assets that the images were rendered with; None in files that do not say, as LIBERO's."""
        try:
            return json.loads(self._data.attrs["env_args"])["env_kwargs"]["assets_digest"]
        except (KeyError, TypeError, ValueError):
            return None

    def steps(self, index: int) -> int:
        """The number of control steps of an episode."""
        return self._dataset(index, "actions").shape[0]

    def image_size(self, index: int, view: str) -> tuple[int, int]:
        """(height, width) of an episode's images of one view, ``agentview`` or ``eye_in_hand``."""
        _, height, width, _ = self._dataset(index, f"{view}_rgb").shape
        return height, width

    def has(self, index: int, name: str) -> bool:
        """Whether an episode has one of the ``ARRAYS`` that are optional."""
        return ARRAYS[name].key in self._data[self.names[index]]

    def episode(self, index: int, frames: slice = slice(None)) -> Episode:
        """An episode, or the ``frames`` of it, in memory."""
        arrays = {
            name: self.read(index, name, frames)
            for name, array in ARRAYS.items()
            if not array.optional or self.has(index, name)
        }
        return Episode(**arrays, attributes=self.attributes_of(index))

    def read(self, index: int, name: str, frames: slice | int = slice(None)) -> np.ndarray:
        """The ``frames`` of one of an episode's ``ARRAYS``; images upright."""
        dataset = self._dataset(index, name)
        try:
            values = dataset[frames]
        except OSError as error:
            raise DemoFileError(f"{self.path}: {dataset.name} cannot be read ({error}); {_DAMAGED}") from error
        return np.flip(values, axis=-3) if name.endswith("_rgb") else values

    def mapped(self, index: int, name: str) -> np.ndarray | None:
        """The same as a read-only view of the file, costing nothing until touched; None where it is compressed."""
        dataset = self._dataset(index, name)
        if self._mapping is None:
            self._mapping = np.memmap(self.path, mode="r")
        view = view_in(self._mapping, dataset)
        return None if view is None else np.flip(view, axis=-3) if name.endswith("_rgb") else view

    def _dataset(self, index: int, name: str) -> h5py.Dataset:
        demo, array = self._data[self.names[index]], ARRAYS[name]
        where = f"{self.path}: data/{self.names[index]}/{array.key}"
        dataset = demo.get(array.key)
        if not isinstance(dataset, h5py.Dataset):
            raise DemoFileError(f"{where} is missing; this is not a LIBERO demonstration, or an unfinished one")
        if not array.fits(dataset.shape):
            expected = ("T", *("any" if size is None else size for size in array.shape))
            raise DemoFileError(f"{where} has shape {dataset.shape}, expected ({', '.join(map(str, expected))})")
        steps = demo["actions"].shape[0] if "actions" in demo else dataset.shape[0]
        if dataset.shape[0] != steps:
            raise DemoFileError(f"{where} has {dataset.shape[0]} steps, but the episode has {steps} actions")
        return dataset


def view_in(mapping: np.memmap, dataset: h5py.Dataset) -> np.ndarray | None:
    """``dataset`` as a view of its memory-mapped file; None unless its bytes lie there plain and in one piece."""
    offset = dataset.id.get_offset()  # None for chunked, compressed, external and empty datasets
    if offset is None:
        return None
    return np.ndarray(dataset.shape, dataset.dtype, buffer=mapping, offset=offset)


_DAMAGED = "the file is cut short or damaged: collect or download it again"


def _open(path: Path) -> h5py.File:
    if not path.exists():
        parts = path.with_suffix(".parts")
        if parts.is_dir():
            raise DemoFileError(f"{path} is not finished: its episodes are in {parts}; run the same collection again")
        raise DemoFileError(f"no demonstrations at {path}; collect some with 'python -m sim.collect'")
    try:
        return h5py.File(path, "r")
    except OSError as error:
        if not h5py.is_hdf5(path):
            raise DemoFileError(f"{path} is not an HDF5 file, or its beginning is lost; {_DAMAGED}") from error
        raise DemoFileError(f"{path} cannot be opened ({error}); {_DAMAGED}") from error


def _demo_names(data: h5py.Group) -> list[str]:
    names = [name for name in data if name.startswith("demo_") and name.removeprefix("demo_").isdigit()]
    return sorted(names, key=lambda name: int(name.removeprefix("demo_")))


def _write_episode(group: h5py.Group, episode: Episode) -> None:
    for name, array in ARRAYS.items():
        if getattr(episode, name) is None:
            continue
        values = np.asarray(getattr(episode, name))
        if name.endswith("_rgb"):
            values = np.flip(values, axis=-3)
        # No chunks, no compression: readers map the images straight from the file.
        group.create_dataset(array.key, data=values.astype(array.dtype, copy=False))
    group.create_dataset("obs/ee_states", data=episode.ee_states)
    group.attrs["num_samples"] = len(episode)
    group.attrs["init_state"] = episode.states[0]
    group.attrs.update(episode.attributes)


def _write_totals(data: h5py.Group) -> None:
    names = _demo_names(data)
    data.attrs["num_demos"] = len(names)
    data.attrs["total"] = sum(int(data[name].attrs["num_samples"]) for name in names)
