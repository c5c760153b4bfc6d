"""Point tracks on disk, in AMPLIFY's published layout: ``<suite>/uniform_400_reinit_16/<task>_demo/demo_k.hdf5``.

For every frame t and view the file holds the paths over the next 16 frames of 400 points that start on a fresh grid
at t (after the episode's end the last frame repeats): ``root/<view>/tracks`` (T, 16, 400, 2) float32 in
**(column, row) pixels** of the upright image, and ``root/<view>/vis`` (T, 16, 400) float32, 1 where visible. Models
take points as ``normalized`` gives them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import h5py
import numpy as np

from common.errors import UserError
from common.files import replacing

METHOD = "uniform_400_reinit_16"
"""Folder name of the default tracks: a uniform grid of 400 points, started anew at every frame, followed for 16."""

GRID = 20
"""Points along each side of the grid."""

HOW_TO_GET_TRACKS = (
    "'python -m sim.collect' writes demonstrations with their tracks, 'python -m demos.preprocess mode=tracks' makes "
    "those of other ones"
)
"""The end of every message that misses some."""


class TrackFileError(UserError):
    """A track file that is missing, cut short, or not of the published layout."""


@dataclass(frozen=True, eq=False)
class Tracks:
    """Tracks of one view over T frames: points (T, t, n, 2) in (column, row) pixels, and vis (T, t, n) in [0, 1]."""

    points: np.ndarray
    vis: np.ndarray

    def __post_init__(self) -> None:
        if self.points.ndim != 4 or self.points.shape[-1] != 2 or self.vis.shape != self.points.shape[:-1]:
            raise ValueError(f"points {self.points.shape} and vis {self.vis.shape} are not (T, t, n, 2) and (T, t, n)")

    def __len__(self) -> int:
        return len(self.points)


def normalized(points: np.ndarray, image_size: np.ndarray) -> np.ndarray:
    """(..., 2) (col, row) pixels -> (row, col) in [-1, 1], clamped; what is not a number becomes pixel 0.

    ``image_size`` (..., 2) is (height, width).
    """
    half = image_size / 2
    pixels = np.array(points[..., ::-1], order="C")
    pixels[~np.isfinite(pixels)] = 0
    pixels -= half
    pixels /= half
    return np.clip(pixels, -1, 1, out=pixels)


def query_pixels(height: int, width: int, grid: int = GRID) -> np.ndarray:
    """The uniform query grid, ``(grid * grid, 2)`` (column, row) pixels, rows running fastest as AMPLIFY's do."""
    along = (np.linspace(-1 + 1 / grid, 1 - 1 / grid, grid) + 1) / 2
    column, row = np.meshgrid(along * width, along * height, indexing="ij")
    return np.stack([column, row], axis=-1).reshape(-1, 2)


Interpolation = Literal["linear", "spline"]


def resampled(values: np.ndarray, length: int, method: Interpolation = "linear") -> np.ndarray:
    """Bring axis 1, time, to ``length`` by interpolation; the first and the last point stay what they are.

    ``spline`` is the cubic one through all points (not-a-knot); of less than four points it is a parabola or a line.
    """
    if values.shape[1] == length:
        return values
    if method == "spline":
        from scipy.interpolate import CubicSpline

        spline = CubicSpline(np.linspace(0, 1, values.shape[1]), values, axis=1)
        return spline(np.linspace(0, 1, length)).astype(values.dtype)
    place = np.linspace(0, values.shape[1] - 1, length)
    before = np.minimum(place.astype(int), values.shape[1] - 2)
    weight = (place - before).astype(np.float32).reshape(-1, *[1] * (values.ndim - 2))
    return values[:, before] * (1 - weight) + values[:, before + 1] * weight


def track_folder(root: str | Path, suite: str, demo_file: str | Path, method: str = METHOD) -> Path:
    """Where the tracks of a demonstration file live.

    >>> str(track_folder("preprocessed_data", "libero_10", "data/open_drawer_demo.hdf5"))
    'preprocessed_data/libero_10/uniform_400_reinit_16/open_drawer_demo'
    """
    return Path(root) / suite / method / Path(demo_file).stem


class TrackWriter:
    """Writes the track files of one demonstration file, each atomically.

    >>> writer = TrackWriter(track_folder(root, suite, demo_file))                  # doctest: +SKIP
    >>> writer.write(k, {"agentview": Tracks(points, vis)}, image_size=(128, 128))  # doctest: +SKIP
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def write(self, index: int, views: Mapping[str, Tracks], image_size: tuple[int, int]) -> Path:
        """Write ``demo_<index>.hdf5``; ``image_size`` is the (height, width) whose pixels the points are in."""
        if len({tracks.points.shape for tracks in views.values()}) != 1:
            raise ValueError(f"views differ in shape: { {view: t.points.shape for view, t in views.items()} }")
        path = self.folder / f"demo_{index}.hdf5"
        with replacing(path) as temporary, h5py.File(temporary, "w") as file:
            root = file.create_group("root")
            root.attrs["image_size"] = image_size
            for view, tracks in views.items():
                for key, values in (("tracks", tracks.points), ("vis", tracks.vis)):
                    # One frame a chunk, since training reads single frames at random. Shuffled gzip keeps a sixth
                    # (still camera) to a half (moving camera) of the bytes and costs 0.1 ms a frame to read.
                    root.create_dataset(
                        f"{view}/{key}",
                        data=values,
                        dtype="float32",
                        chunks=(1, *values.shape[1:]),
                        compression="gzip",
                        compression_opts=1,
                        shuffle=True,
                    )
        return path


class TrackReader:
    """Reads one episode's track file, ours or a published one, any frames of it at a time.

    >>> with TrackReader(folder / "demo_3.hdf5") as reader:          # doctest: +SKIP
    ...     reader.read("agentview", slice(10, 12)).points.shape
    (2, 16, 400, 2)
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not self.path.exists():
            raise TrackFileError(f"no tracks at {self.path}; {HOW_TO_GET_TRACKS}")
        try:
            self._file = h5py.File(self.path, "r")
        except OSError as error:
            raise TrackFileError(f"{self.path} cannot be opened ({error}); it is cut short: make it again") from error
        try:
            self._datasets = self._check()
        except BaseException:
            self._file.close()
            raise
        self.views: tuple[str, ...] = tuple(self._datasets)
        self.shape: tuple[int, int, int] = self._datasets[self.views[0]][1].shape
        """(T, t, n): frames, horizon, points."""
        size = self._file["root"].attrs.get("image_size")
        self.image_size: tuple[int, int] | None = None if size is None else (int(size[0]), int(size[1]))
        """(height, width) of the image whose pixels the points are in; None in published files, which do not say."""

    def __enter__(self) -> "TrackReader":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def read(self, view: str, frames: slice | int = slice(None)) -> Tracks:
        """The tracks of one view that start at ``frames``; a single frame keeps its axis."""
        if isinstance(frames, int | np.integer):
            frames = slice(int(frames), int(frames) + 1)
        if view not in self._datasets:
            raise TrackFileError(f"{self.path} has no tracks for the view '{view}', only for {', '.join(self.views)}")
        points, vis = self._datasets[view]
        try:
            return Tracks(points[frames], vis[frames])
        except OSError as error:
            raise TrackFileError(f"{self.path}: root/{view} cannot be read ({error}); make it again") from error

    def _check(self) -> dict[str, tuple[h5py.Dataset, h5py.Dataset]]:
        """The points and the visibility of every view, when all are there and fit each other."""
        root = self._file.get("root")
        if not isinstance(root, h5py.Group) or not len(root):
            raise TrackFileError(f"{self.path} is not a track file: it has no group root/<view>")
        datasets: dict[str, tuple[h5py.Dataset, h5py.Dataset]] = {}
        shape = None
        for view in root:
            points, vis = root.get(f"{view}/tracks"), root.get(f"{view}/vis")
            if not isinstance(points, h5py.Dataset) or not isinstance(vis, h5py.Dataset):
                raise TrackFileError(f"{self.path}: root/{view} lacks 'tracks' or 'vis'; make it again")
            if points.ndim != 4 or points.shape != (*vis.shape, 2) or vis.shape != (shape or vis.shape):
                raise TrackFileError(
                    f"{self.path}: root/{view}/tracks has shape {points.shape} and vis {vis.shape}; expected "
                    "(T, t, n, 2) and (T, t, n), the same for every view"
                )
            shape = vis.shape
            datasets[view] = points, vis
        return datasets
