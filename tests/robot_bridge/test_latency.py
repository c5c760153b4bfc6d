"""How late an arm is, measured from what it was told and what it did."""

import numpy as np
import pytest

from robot_bridge.latency import following_delay


@pytest.mark.parametrize("delay", [0.0, 0.05, 0.13, 0.3])
def test_the_delay_of_a_moving_arm_is_found(delay: float):
    times = np.arange(0, 10, 0.05)
    path = np.stack([np.sin(times), np.cos(0.7 * times)], axis=1)
    late = np.stack([np.interp(times - delay, times, joint) for joint in path.T], axis=1)
    measured = late + np.random.default_rng(0).normal(0, 0.002, late.shape)
    assert following_delay(times, path, measured) == pytest.approx(delay, abs=0.01)


def test_an_arm_that_stands_still_shows_nothing():
    times = np.arange(0, 10, 0.05)
    assert following_delay(times, np.zeros((len(times), 7)), np.zeros((len(times), 7))) is None


def test_a_run_of_a_moment_shows_nothing():
    assert following_delay(np.zeros(0), np.zeros((0, 7)), np.zeros((0, 7))) is None
    assert following_delay(np.zeros(1), np.zeros((1, 7)), np.zeros((1, 7))) is None
