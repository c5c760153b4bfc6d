"""Area averaging: what comes out is the mean of what is underneath, and fine stripes turn grey instead of coarse."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robot_bridge.resize import resize


def averaged(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """The same by brute force: every pixel split into so many that the areas come out even."""
    fine = image.astype(float).repeat(height, 0).repeat(width, 1)
    return fine.reshape(height, image.shape[0], width, image.shape[1], 3).mean(axis=(1, 3))


@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 4))
@settings(max_examples=60)
def test_every_pixel_is_the_mean_of_its_area(seed: int, height: int, shape: int):
    size = (12, 12 * shape)
    image = np.random.default_rng(seed).integers(0, 256, (height, height * shape, 3), dtype=np.uint8)
    assert np.abs(resize(image, size) - averaged(image, *size)).max() <= 0.501


def test_fine_stripes_turn_grey():
    stripes = np.zeros((480, 640, 3), np.uint8)
    stripes[:, ::2] = 255
    small = resize(stripes, (128, 128)).astype(int)
    assert small.min() > 80  # nearest pixels would be black and white
    assert small.max() < 175


def test_the_middle_is_taken_in_the_shape_of_the_policy():
    image = np.zeros((480, 640, 3), np.uint8)
    image[:, 80:560] = 200
    assert (resize(image, (128, 128)) == 200).all()
    assert (resize(image.transpose(1, 0, 2), (128, 128)) == 200).all()


@pytest.mark.parametrize("shape", [(2, 3, 50, 60, 3), (0, 50, 60, 3), (50, 60, 3)])
def test_leading_dimensions_stay(shape: tuple[int, ...]):
    assert resize(np.full(shape, 7, np.uint8), (16, 16)).shape == (*shape[:-3], 16, 16, 3)


def test_the_right_size_is_left_alone():
    image = np.zeros((16, 16, 3), np.uint8)
    assert resize(image, (16, 16)) is image
