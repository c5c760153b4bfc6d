"""Points that are followed through video."""

import cv2
import numpy as np
import pytest

from demos.optical_flow_tracks import track
from demos.tracks import query_pixels


def video(frames: int, columns: int, rows: int, side: int = 96) -> np.ndarray:
    """A textured surface that moves by so many pixels a frame."""
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
    surface = cv2.resize(noise, (400, 400), interpolation=cv2.INTER_CUBIC)
    corners = [(150 - k * rows, 150 - k * columns) for k in range(frames)]
    return np.stack([surface[top : top + side, left : left + side] for top, left in corners])


def test_points_go_where_the_surface_goes() -> None:
    tracks = track(video(6, columns=2, rows=-1), horizon=4)
    assert tracks.points.shape == (6, 4, 400, 2)
    assert np.array_equal(tracks.points[3, 0], query_pixels(96, 96).astype(np.float32))
    expected = tracks.points[1, 0] + 3 * np.array([2, -1])
    inside = ((expected > 8) & (expected < 88)).all(-1)
    assert np.abs(tracks.points[1, 3] - expected)[inside].mean() < 0.2
    assert tracks.vis[1, 3][inside].mean() > 0.95


def test_what_leaves_the_image_is_not_seen_any_more() -> None:
    tracks = track(video(6, columns=8, rows=0), horizon=6)
    last = query_pixels(96, 96)[:, 0] > 80
    assert tracks.vis[0, 0].all()
    assert not tracks.vis[0, -1][last].any()


def test_after_the_last_frame_nothing_moves() -> None:
    tracks = track(video(3, columns=2, rows=0), horizon=5)
    assert np.array_equal(tracks.points[0, 2], tracks.points[0, 4])
    assert np.array_equal(tracks.points[2, 0], tracks.points[2, 4])
    assert np.array_equal(tracks.vis[1, 1], tracks.vis[1, 4])


@pytest.mark.parametrize("frames", [1, 2])
def test_short_videos_have_tracks_too(frames: int) -> None:
    tracks = track(video(frames, columns=1, rows=0))
    assert tracks.points.shape == (frames, 16, 400, 2)
    assert np.isfinite(tracks.points).all()
