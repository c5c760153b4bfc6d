"""Training samples: any frames of many demonstrations, with the actions and point tracks that follow them.

Images are read straight from the memory-mapped files, everything small stays in memory, and all is NumPy.
The content of a sample is that of AMPLIFY's LiberoDataset (reference section 13.2).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from common.conventions import ACTION_DIM, HORIZON, PROPRIO_DIM, VIEWS
from common.errors import UserError, require
from common.files import OpenFiles
from demos.hdf5 import DemoFileError, DemoReader
from demos.origin import Origin
from demos.spec import Mode, chosen_episodes, parse_specs
from demos.tracks import (
    HOW_TO_GET_TRACKS,
    METHOD,
    Interpolation,
    TrackFileError,
    TrackReader,
    normalized,
    resampled,
    track_folder,
)

KEYS = frozenset({"images", "proprio", "actions", "tracks", "text"})
ActionKey = Literal["actions", "joint_states"]
"""What an action is: the demonstration's own, or the joint angles that were reached a step later and the gripper's
command (7 + 1)."""


@dataclass(frozen=True)
class EpisodeRef:
    """One chosen episode: where it is, its place among the dataset's frames, and its instruction."""

    file: Path
    index: int
    tracks: Path
    first_frame: int
    steps: int
    image_size: tuple[int, int]  # (height, width)
    text_id: int


class FrameDataset:
    """All frames of the episodes that ``spec`` chooses, addressed by 0 .. len - 1 and read in batches.

    ``root/<dataset>/<task>_demo.hdf5`` are the demonstrations, ``tracks_root`` has their tracks. ``mode`` says which
    share of the spec counts; by default ``action`` where actions are loaded and ``traj`` otherwise. Episodes without
    tracks are left out and counted (``episodes_without_tracks``) when tracks are loaded, unless
    ``episodes_with_tracks_only`` is False, which makes them an error.

    >>> frames = FrameDataset("[libero_10:traj0.9]", root=Path("data"), tracks_root=Path("preprocessed_data"),
    ...                       keys={"images", "tracks", "text"})                          # doctest: +SKIP
    >>> batch = frames.frames_in_batch(np.array([0, 70, 3]))                              # doctest: +SKIP
    >>> batch["images"].shape, batch["tracks"].shape                                      # doctest: +SKIP
    ((3, 2, 128, 128, 3), (3, 2, 16, 400, 2))
    """

    def __init__(
        self,
        spec: str | Iterable[str],
        *,
        root: str | Path,
        tracks_root: str | Path = "preprocessed_data",
        keys: Iterable[str] = KEYS,
        mode: Mode | None = None,
        views: tuple[str, ...] = VIEWS,
        action_horizon: int = HORIZON,
        action_key: ActionKey = "actions",
        track_horizon: int | None = None,
        interpolation: Interpolation = "linear",
        track_method: str = METHOD,
        episodes_with_tracks_only: bool = True,
    ) -> None:
        self.keys = frozenset(keys)
        if not self.keys or self.keys - KEYS:
            raise ValueError(f"keys {sorted(self.keys)} must be some of {sorted(KEYS)}")
        self.views = tuple(views)
        self.action_horizon = action_horizon
        self.track_horizon = track_horizon or action_horizon
        self.interpolation: Interpolation = interpolation
        self.mode: Mode = mode or ("action" if "actions" in self.keys else "traj")
        self.episodes: list[EpisodeRef] = []
        self.texts: list[str] = []
        self._assets: list[str] = []
        self.episodes_without_tracks = 0
        self._readers = OpenFiles(DemoReader, limit=256)
        self._track_readers = OpenFiles(TrackReader, limit=128)
        self._mapped: dict[tuple[int, int], np.ndarray | None] = {}

        proprio: list[np.ndarray] = []
        actions: list[np.ndarray] = []
        for file, tracks, index in self._choose(spec, Path(root), Path(tracks_root), track_method):
            if "tracks" in self.keys and not tracks.exists():
                if not episodes_with_tracks_only:
                    raise TrackFileError(f"no tracks at {tracks}; {HOW_TO_GET_TRACKS}")
                self.episodes_without_tracks += 1
                continue
            reader = self._readers.open(file)
            self._add(reader, index, tracks)
            if "proprio" in self.keys:
                proprio.append(
                    np.concatenate([reader.read(index, "joint_states"), reader.read(index, "gripper_states")], axis=1)
                )
            if "actions" in self.keys:
                actions.append(_actions(reader, index, action_key))
        if not self.episodes:
            lacking = f"; {self.episodes_without_tracks} have no tracks" if self.episodes_without_tracks else ""
            raise UserError(f"datasets {spec} choose no episode of {root} for '{self.mode}'{lacking}")
        self._proprio = _joined("joint_states and gripper_states", proprio or [np.zeros((0, PROPRIO_DIM))])
        self._actions = _joined("actions", actions or [np.zeros((0, ACTION_DIM))])
        steps = np.array([episode.steps for episode in self.episodes])
        self._end = np.cumsum(steps)
        self._first = self._end - steps
        self._episode = np.repeat(np.arange(len(steps)), steps)
        self._text_id = np.array([episode.text_id for episode in self.episodes])

    def __len__(self) -> int:
        return len(self._episode)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_mapped": {}}  # else pickling would copy the images

    @property
    def origin(self) -> Origin:
        """The instructions of the chosen episodes, and the assets they were rendered with where their files say."""
        return Origin(tuple(self.texts), tuple(self._assets) or None)

    @property
    def proprio(self) -> np.ndarray:
        """(frames, 9) float32 of all frames, when ``keys`` has proprio."""
        return self._proprio

    @property
    def actions(self) -> np.ndarray:
        """(frames, 7) float32 of all frames, when ``keys`` has actions; (frames, 8) of joint angles."""
        return self._actions

    def episode_of(self, indices: np.ndarray) -> np.ndarray:
        """(b,) the position in ``episodes`` of each frame's episode."""
        return self._episode[indices]

    def text_ids(self, indices: np.ndarray) -> np.ndarray:
        """(b,) the position in ``texts`` of each frame's instruction."""
        return self._text_id[self._episode[indices]]

    def frames_in_batch(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        """The samples of b frames; of these entries, those that ``keys`` ask for:

        images (b, v, h, w, 3) uint8, upright RGB; proprio (b, 9); actions (b, 16, 7) from the frame on, zero past the
        episode's end, and action_mask (b, 16) bool, True where there is an action; tracks (b, v, t, n, 2) (row, col)
        in [-1, 1]; vis (b, v, t, n); text_ids (b,). Float arrays are float32.
        """
        indices = np.asarray(indices)
        batch: dict[str, np.ndarray] = {}
        if "images" in self.keys:
            batch["images"] = self._images_at(indices)
        if "proprio" in self.keys:
            batch["proprio"] = self._proprio[indices]
        if "actions" in self.keys:
            batch["actions"], batch["action_mask"] = self._actions_from(indices)
        if "tracks" in self.keys:
            batch["tracks"], batch["vis"] = self._tracks_from(indices)
        if "text" in self.keys:
            batch["text_ids"] = self.text_ids(indices)
        return batch

    def images_in_batch(self, indices: np.ndarray) -> np.ndarray:
        """The images (b, v, h, w, 3) uint8 of b frames alone, when ``keys`` has images."""
        return self._images_at(np.asarray(indices))

    def tracks_in_batch(self, indices: np.ndarray) -> np.ndarray:
        """The tracks (b, v, t, n, 2) float32 of b frames alone, when ``keys`` has tracks."""
        return self._tracks_from(np.asarray(indices))[0]

    def _choose(
        self, spec: str | Iterable[str], root: Path, tracks_root: Path, method: str
    ) -> Iterable[tuple[Path, Path, int]]:
        """(demonstration file, track file, episode) of every chosen episode."""
        for dataset in parse_specs(spec):
            share = dataset.share(self.mode)
            if share is None:
                continue
            folder = root / dataset.name
            files = sorted(folder.glob("*_demo.hdf5"))
            if not files:
                raise DemoFileError(
                    f"no demonstrations (*_demo.hdf5) in {folder}; "
                    f"collect them with 'python -m sim.collect --suite {dataset.name}', or name the folder above it"
                )
            for file in files:
                reader = self._readers.open(file)
                tracks = track_folder(tracks_root, dataset.name, file, method)
                for index in chosen_episodes(share, len(reader)):
                    yield file, tracks / f"{reader.names[index]}.hdf5", index

    def _add(self, reader: DemoReader, index: int, tracks: Path) -> None:
        sizes = (
            {reader.image_size(index, view) for view in self.views} if self.keys & {"images", "tracks"} else {(0, 0)}
        )
        if "images" in self.keys and self.episodes:
            sizes.add(self.episodes[0].image_size)
        if len(sizes) > 1:
            raise DemoFileError(
                f"{reader.path}: the images of {reader.names[index]} are not all of the size of the other images "
                f"({', '.join(f'{h} x {w}' for h, w in sorted(sizes))}); train on files of one size and equal views"
            )
        text = reader.language
        if text not in self.texts:
            self.texts.append(text)
        if reader.assets_digest is not None and reader.assets_digest not in self._assets:
            self._assets.append(reader.assets_digest)
        last = self.episodes[-1] if self.episodes else None
        self.episodes.append(
            EpisodeRef(
                file=reader.path,
                index=index,
                tracks=tracks,
                first_frame=last.first_frame + last.steps if last else 0,
                steps=reader.steps(index),
                image_size=sizes.pop(),
                text_id=self.texts.index(text),
            )
        )

    def _images_at(self, indices: np.ndarray) -> np.ndarray:
        images = np.empty((len(indices), len(self.views), *self.episodes[0].image_size, 3), np.uint8)
        for row, (episode, step) in enumerate(self._steps(indices)):
            for column, view in enumerate(self.views):
                mapped = self._mapped_images(episode, column)
                if mapped is None:
                    ref = self.episodes[episode]
                    images[row, column] = self._readers.open(ref.file).read(ref.index, f"{view}_rgb", step)
                else:
                    images[row, column] = mapped[step]
        return images

    def _mapped_images(self, episode: int, column: int) -> np.ndarray | None:
        if (episode, column) not in self._mapped:
            ref = self.episodes[episode]
            reader = self._readers.open(ref.file)
            self._mapped[episode, column] = reader.mapped(ref.index, f"{self.views[column]}_rgb")
        return self._mapped[episode, column]

    def _actions_from(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        frames = indices[:, None] + np.arange(self.action_horizon)
        mask = frames < self._end[self._episode[indices], None]
        actions = self._actions[np.minimum(frames, len(self._actions) - 1)] * mask[..., None]
        return actions, mask

    def _tracks_from(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        points: list[np.ndarray] = []
        vis: list[np.ndarray] = []
        sizes: list[tuple[int, int]] = []
        for episode, step in self._steps(indices):
            ref = self.episodes[episode]
            reader = self._track_readers.open(ref.tracks)
            if reader.shape[0] != ref.steps:
                raise TrackFileError(
                    f"{ref.tracks} has tracks of {reader.shape[0]} frames, but the episode in {ref.file} has "
                    f"{ref.steps}: they belong to another collection; make the tracks again"
                )
            if reader.shape[1] < self.action_horizon:
                raise TrackFileError(
                    f"{ref.tracks} follows points for {reader.shape[1]} frames, but {self.action_horizon} are asked "
                    "for; use a shorter horizon, or make the tracks again"
                )
            sizes += [reader.image_size or ref.image_size] * len(self.views)
            for view in self.views:
                tracks = reader.read(view, step)
                points.append(tracks.points[0, : self.action_horizon])
                vis.append(tracks.vis[0, : self.action_horizon])
        to_length = partial(resampled, length=self.track_horizon, method=self.interpolation)
        paths = to_length(normalized(np.stack(points), np.array(sizes, np.float32)[:, None, None]))
        visibility = to_length(np.stack(vis))
        shape = (len(indices), len(self.views))
        return paths.reshape(*shape, *paths.shape[1:]), visibility.reshape(*shape, *visibility.shape[1:])

    def _steps(self, indices: np.ndarray) -> Iterable[tuple[int, int]]:
        """(episode, step in it) of each frame, as plain integers."""
        episode = self._episode[indices]
        return zip(episode.tolist(), (indices - self._first[episode]).tolist(), strict=True)


def _joined(name: str, parts: list[np.ndarray]) -> np.ndarray:
    """The episodes' rows (t, d) float32 in one array; ``UserError`` where they are of robots that differ."""
    widths = sorted({part.shape[1] for part in parts})
    require(len(widths) == 1, f"the episodes' {name} have {' and '.join(map(str, widths))} numbers; choose one robot's")
    return np.concatenate(parts, dtype=np.float32)


def _actions(reader: DemoReader, episode: int, key: ActionKey) -> np.ndarray:
    """The actions (steps, 7) of an episode, or (steps, 8) as joint angles and gripper; the last step stays there."""
    commands = reader.read(episode, "actions")
    if key == "actions":
        return commands
    joints = reader.read(episode, "joint_states")
    return np.concatenate([joints[np.minimum(np.arange(len(joints)) + 1, len(joints) - 1)], commands[:, -1:]], 1)
