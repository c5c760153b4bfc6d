"""Chunks become one stream: nothing that has passed is executed, and joins are smooth."""

import numpy as np
import pytest

from robot_bridge.chunks import OverlapBlend, TemporalEnsemble


def ramp(first: int, slope: float = 1.0) -> np.ndarray:
    """Row i says its tick, so that a step back shows."""
    return slope * np.arange(first, first + 16, dtype=float)[:, None].repeat(7, 1)


@pytest.mark.parametrize("joiner", [TemporalEnsemble, OverlapBlend])
def test_rows_that_passed_while_the_request_was_out_are_skipped(joiner):
    chunks = joiner()
    chunks.add(ramp(10), observed=10)
    assert chunks.at(13).action[0] == 13
    assert chunks.at(13).observed == 10
    assert chunks.left(13) == 13
    assert chunks.at(26) is None


@pytest.mark.parametrize("joiner", [TemporalEnsemble, OverlapBlend])
def test_a_late_old_chunk_changes_nothing(joiner):
    chunks = joiner()
    chunks.add(ramp(10), observed=10)
    chunks.add(ramp(4, slope=-1), observed=4)
    assert chunks.at(12).action[0] == 12


@pytest.mark.parametrize("joiner", [TemporalEnsemble, OverlapBlend])
def test_agreeing_chunks_join_without_a_seam_and_a_stop_forgets_them(joiner):
    chunks = joiner()
    stream = []
    for tick in range(60):
        if tick % 8 == 0:
            chunks.add(ramp(tick), observed=tick)
        stream.append(chunks.at(tick).action[0])
    np.testing.assert_allclose(stream, np.arange(60))
    chunks.clear()
    assert chunks.at(60) is None
    assert chunks.left(60) == 0


def test_the_blend_goes_over_in_equal_steps():
    chunks = OverlapBlend(blend=4)
    chunks.add(np.zeros((16, 7)), observed=0)
    assert chunks.at(5).action[0] == 0
    chunks.add(np.ones((16, 7)), observed=4)
    values = [chunks.at(tick).action[0] for tick in range(6, 12)]
    np.testing.assert_allclose(values, [0.2, 0.4, 0.6, 0.8, 1.0, 1.0])


def test_the_ensemble_weighs_as_published():
    chunks = TemporalEnsemble()
    for observed, value in ((0, 1.0), (1, 2.0), (2, 4.0)):
        chunks.add(np.full((16, 7), value), observed)
    weights = np.exp(-0.01 * np.arange(3))
    np.testing.assert_allclose(chunks.at(2).action, weights @ [1, 2, 4] / weights.sum())
