"""Track files: round trips, the published layout, and errors that name the file."""

import doctest
from pathlib import Path

import h5py
import numpy as np
import pytest

import demos.tracks
from demos.tracks import (
    Interpolation,
    TrackFileError,
    TrackReader,
    Tracks,
    TrackWriter,
    normalized,
    resampled,
    track_folder,
)
from tests.demos.examples import make_tracks


def test_docstring_examples_hold() -> None:
    assert doctest.testmod(demos.tracks).failed == 0


def test_tracks_come_back_as_they_were(tmp_path: Path) -> None:
    folder = track_folder(tmp_path, "libero_10", "data/libero_10/open_demo.hdf5")
    views = make_tracks(steps=6, points=9)
    path = TrackWriter(folder).write(12, views, image_size=(8, 6))
    assert path == tmp_path / "libero_10" / "uniform_400_reinit_16" / "open_demo" / "demo_12.hdf5"
    with TrackReader(path) as reader:
        assert reader.views == ("agentview", "eye_in_hand")
        assert reader.shape == (6, 16, 9)
        assert reader.image_size == (8, 6)
        for view, tracks in views.items():
            np.testing.assert_array_equal(reader.read(view).points, tracks.points)
            np.testing.assert_array_equal(reader.read(view).vis, tracks.vis)
            np.testing.assert_array_equal(reader.read(view, slice(2, 4)).points, tracks.points[2:4])
            np.testing.assert_array_equal(reader.read(view, 3).vis, tracks.vis[3:4])
    assert [file.name for file in folder.iterdir()] == ["demo_12.hdf5"]


def test_the_files_are_laid_out_as_published(tmp_path: Path) -> None:
    views = make_tracks(steps=3, points=400)
    with h5py.File(TrackWriter(tmp_path).write(0, views, image_size=(128, 128))) as file:
        assert file["root/agentview/tracks"].shape == (3, 16, 400, 2)
        assert file["root/eye_in_hand/vis"].shape == (3, 16, 400)
        assert file["root/eye_in_hand/tracks"].dtype == file["root/agentview/vis"].dtype == np.float32


def test_published_files_agree_with_golden(tmp_path: Path, golden: Path) -> None:
    torch = pytest.importorskip("torch")
    outputs = torch.load(golden / "preprocess_tracks.pt", weights_only=True)["outputs"]
    with h5py.File(tmp_path / "demo_0.hdf5", "w") as file:
        for view, arrays in outputs.items():
            for key, values in arrays.items():
                file[f"root/{view}/{key}"] = values.numpy()
    with TrackReader(tmp_path / "demo_0.hdf5") as reader:
        assert reader.views == tuple(outputs)
        assert reader.shape == (5, 4, 16)
        assert reader.image_size is None
        np.testing.assert_array_equal(reader.read("agentview").points, outputs["agentview"]["tracks"].numpy())


def test_a_missing_track_file_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(TrackFileError, match=r"no tracks at .*demo_0\.hdf5; .*sim\.collect"):
        TrackReader(tmp_path / "demo_0.hdf5")


def test_a_track_file_that_is_cut_short_is_named(tmp_path: Path) -> None:
    path = TrackWriter(tmp_path).write(0, make_tracks(), image_size=(8, 6))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(TrackFileError, match=r"demo_0\.hdf5 cannot be opened"):
        TrackReader(path)


def test_a_file_of_another_kind_is_named(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "demo_0.hdf5", "w") as file:
        file["data/demo_0/actions"] = np.zeros((3, 7))
    with pytest.raises(TrackFileError, match=r"demo_0\.hdf5 is not a track file"):
        TrackReader(tmp_path / "demo_0.hdf5")
    with h5py.File(tmp_path / "demo_1.hdf5", "w") as file:
        file["root/agentview/tracks"] = np.zeros((3, 16, 4, 2))
        file["root/agentview/vis"] = np.zeros((3, 16, 5))
    with pytest.raises(TrackFileError, match=r"root/agentview/tracks has shape \(3, 16, 4, 2\)"):
        TrackReader(tmp_path / "demo_1.hdf5")


def test_a_view_without_tracks_is_named(tmp_path: Path) -> None:
    path = TrackWriter(tmp_path).write(0, make_tracks(), image_size=(8, 6))
    with TrackReader(path) as reader, pytest.raises(TrackFileError, match=r"no tracks for the view 'front'"):
        reader.read("front")


def test_points_and_visibility_must_fit() -> None:
    with pytest.raises(ValueError, match="not"):
        Tracks(np.zeros((3, 16, 4, 2)), np.zeros((3, 16, 5)))


def test_points_agree_with_golden(golden: Path) -> None:
    torch = pytest.importorskip("torch")
    functions = torch.load(golden / "functions.pt", weights_only=True)
    case = functions["normalize_traj"]  # its pixels are (row, column)
    points = normalized(case["pix"].numpy()[..., ::-1], np.array(case["img_shape"]))
    np.testing.assert_allclose(points, case["out"].numpy(), atol=1e-6)

    case = functions["interpolate"]  # (b, t, n, 2) and (b, v, t, n, 2)
    np.testing.assert_allclose(resampled(case["x4"].numpy(), 8), case["linear_8"].numpy(), atol=1e-5)
    found = resampled(case["x5"].flatten(0, 1).numpy(), 13)
    np.testing.assert_allclose(found, case["linear5_13"].flatten(0, 1).numpy(), atol=1e-5)
    np.testing.assert_allclose(resampled(case["x4"].numpy(), 8, "spline"), case["spline_8"].numpy(), atol=1e-5)


@pytest.mark.parametrize("length", [2, 5, 9])
@pytest.mark.parametrize("method", ["linear", "spline"])
@pytest.mark.parametrize("horizon", [2, 3, 5])
def test_resampling_keeps_the_first_and_the_last_point(length: int, method: Interpolation, horizon: int) -> None:
    values = make_tracks(steps=3, horizon=horizon)["agentview"].points
    found = resampled(values, length, method)
    assert found.dtype == values.dtype
    assert found.shape == (3, length, *values.shape[2:])
    np.testing.assert_allclose(found[:, [0, -1]], values[:, [0, -1]], atol=1e-6)


def test_what_is_not_a_number_becomes_the_first_pixel() -> None:
    points = np.array([[np.nan, 4.0], [np.inf, 8.0]], np.float32)
    np.testing.assert_array_equal(normalized(points, np.array([8, 8])), [[0, -1], [1, -1]])
