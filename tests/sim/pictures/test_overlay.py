"""Drawn trajectories are where the numbers say, in the colours of their time, and only where something moves."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.pictures.overlay import draw_fan, draw_tracks, moving, tail, time_colors, to_pixels, token_colors


def black(height: int = 64, width: int = 64) -> np.ndarray:
    return np.zeros((height, width, 3), np.uint8)


def at(pixels: list[tuple[float, float]], size: tuple[int, int] = (64, 64)) -> np.ndarray:
    """One trajectory (t, 1, 2) in [-1, 1] through these (row, column) pixel centres."""
    return ((np.array(pixels) + 0.5) / np.array(size) * 2 - 1)[:, None]


def centroid(image: np.ndarray) -> np.ndarray:
    """(row, column) of all the light in ``image``."""
    light = image.astype(float).sum(-1)
    return np.array([(light.sum(1 - axis) * np.arange(light.shape[axis])).sum() for axis in (0, 1)]) / light.sum()


def test_a_track_is_drawn_through_its_pixels():
    picture = draw_tracks(black(), at([(10, 20), (10, 40), (30, 40)]), thickness=1)
    lit = picture.any(-1)
    assert lit[10, 20:41].all()
    assert lit[10:31, 40].all()
    assert not lit[:8].any()
    assert not lit[33:].any()
    assert not lit[12:, :38].any()


@given(row=st.floats(10, 50), column=st.floats(10, 40))
def test_lines_lie_at_sub_pixel_positions(row: float, column: float):
    white = np.full((1, 3), 255, np.uint8)
    picture = draw_tracks(black(), at([(row, column), (row, column + 12)]), colors=white, thickness=1)
    assert np.allclose(centroid(picture), (row, column + 6), atol=0.15)


@given(size=st.sampled_from([(64, 64), (48, 96), (128, 512)]), row=st.floats(-1, 1), column=st.floats(-1, 1))
def test_coordinates_are_those_of_the_tracks(size: tuple[int, int], row: float, column: float):
    x, y = to_pixels(np.array([row, column]), size)
    # demos/dataset and tokenizer/motion: continuous pixel = (norm + 1) * size / 2, its centre half a pixel on
    assert (y + 0.5) / size[0] * 2 - 1 == pytest.approx(row, abs=1e-9)
    assert (x + 0.5) / size[1] * 2 - 1 == pytest.approx(column, abs=1e-9)


def test_colours_tell_the_time():
    points = at([(32, column) for column in range(4, 61, 4)])
    picture = draw_tracks(black(), points, thickness=1)
    colors = time_colors(len(points) - 1)
    for step, color in enumerate(colors):
        # OpenCV's thinnest line covers nine tenths of its middle pixel
        assert np.abs(picture[32, 6 + 4 * step] / 0.91 - color).max() <= 8


def test_tails_fade_and_what_is_to_come_does_not():
    points = at([(32, column) for column in range(0, 61, 4)])
    white = np.full((15, 3), 255, np.uint8)
    picture = draw_tracks(black(), points, colors=white, opacity=tail(15, now=8, length=10), thickness=1)
    along = picture[32, 2::4, 0][:15].astype(int)
    assert (np.diff(along[:8]) > 10).all()
    assert (along[8:] >= 228).all()


def test_the_image_below_shines_through_and_is_not_changed():
    gray = np.full((64, 64, 3), 100, np.uint8)
    white = np.full((1, 3), 255, np.uint8)
    points = at([(20, 10), (20, 50)])
    picture = draw_tracks(gray, points, colors=white, opacity=np.array([0.5]), thickness=1)
    assert picture[20, 30].tolist() == pytest.approx([100 * (1 - 0.46) + 255 * 0.46] * 3, abs=3)
    assert (picture[40:] == 100).all()
    assert (gray == 100).all()


def test_only_points_that_move_are_chosen():
    points = np.concatenate([at([(5, 5), (5, 5)]), at([(9, 9), (9, 9.5)]), at([(30, 30), (31, 30)])], 1)
    assert moving(points, (64, 64)).tolist() == [False, False, True]
    assert moving(points, (64, 64), pixels=0.5).tolist() == [False, True, True]


def test_a_point_that_returns_to_its_start_has_moved():
    assert moving(at([(5, 5), (9, 5), (5, 5)]), (64, 64)).tolist() == [True]


def test_points_outside_the_image_do_no_harm():
    wild = np.array([[[1e9, -1e9]], [[0.0, 0.0]], [[-5.0, 3.0]]])
    assert draw_tracks(black(), wild).shape == (64, 64, 3)
    assert (draw_tracks(black(), np.zeros((16, 0, 2))) == 0).all()


def test_each_sample_of_a_fan_has_its_colour():
    samples = np.stack([at([(32, 10), (10, 50)]), at([(32, 10), (54, 50)])])
    picture = draw_fan(black(), samples, (64, 64))
    up, down = picture[21, 30].astype(int), picture[43, 30].astype(int)
    assert up.sum() > 100
    assert down.sum() > 100
    assert np.abs(up / up.max() - down / down.max()).max() > 0.4
    still = np.stack([at([(32, 10), (32, 10)])] * 2)
    assert not draw_fan(black(), still, (64, 64)).any()


def test_a_code_always_has_the_same_colour():
    assert (token_colors([7, 7, 1900]) == token_colors([7, 7, 1900])).all()
    assert (token_colors([7])[0] == token_colors([7, 1900])[0]).all()
    assert (token_colors([7])[0] != token_colors([8])[0]).any()
