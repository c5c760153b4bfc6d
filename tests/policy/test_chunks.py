"""Chunks become one stream: nothing that has passed is executed, and joins are smooth."""

import numpy as np
import pytest

from policy.chunks import JOINERS, OverlapBlend, RealTimeChunking, TemporalEnsemble, soft_mask


def ramp(first: int, slope: float = 1.0) -> np.ndarray:
    """Row i says its tick, so that a step back shows."""
    return slope * np.arange(first, first + 16, dtype=float)[:, None].repeat(7, 1)


@pytest.mark.parametrize("joiner", JOINERS.values())
def test_rows_that_passed_while_the_request_was_out_are_skipped(joiner):
    chunks = joiner()
    chunks.add(ramp(10), observed=10)
    assert chunks.at(13).action[0] == 13
    assert chunks.at(13).observed == 10
    assert chunks.left(13) == 13
    assert chunks.at(26) is None


@pytest.mark.parametrize("joiner", JOINERS.values())
def test_a_late_old_chunk_changes_nothing(joiner):
    chunks = joiner()
    chunks.add(ramp(10), observed=10)
    chunks.add(ramp(4, slope=-1), observed=4)
    assert chunks.at(12).action[0] == 12


@pytest.mark.parametrize("joiner", JOINERS.values())
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


@pytest.mark.parametrize("joiner", JOINERS.values())
def test_a_chunk_that_has_passed_when_it_comes_makes_the_plan_no_fresher(joiner):
    chunks = joiner()
    chunks.add(np.zeros((40, 7)), observed=0)
    chunks.at(20)
    chunks.add(np.ones((4, 7)), observed=5)
    planned = chunks.at(21)
    assert (planned.action[0], planned.observed) == (0, 0)


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


def test_a_chunk_that_comes_while_another_is_blended_in_makes_no_jump_either():
    chunks = OverlapBlend(blend=4)
    for tick, value in ((0, 0.0), (1, 1.0), (2, 0.0), (3, 1.0)):
        chunks.add(np.full((16, 7), value), observed=tick)
        chunks.at(tick)
    stream = [chunks.at(tick).action[0] for tick in range(4, 10)]
    assert np.abs(np.diff(stream)).max() < 0.25


def test_what_a_new_chunk_changes_is_told_once():
    chunks = OverlapBlend(blend=4)
    chunks.add(np.zeros((16, 7)), observed=0)
    assert chunks.at(0).change is None
    chunks.add(np.ones((16, 7)), observed=1)
    np.testing.assert_allclose(chunks.at(2).change, np.full(7, 0.2))
    assert chunks.at(3).change is None


def test_real_time_chunking_freezes_what_will_have_passed_and_keeps_the_rest_the_less_the_later_it_is():
    chunks = RealTimeChunking()
    chunks.add(ramp(0), observed=0)
    for tick in range(7):
        chunks.at(tick)
    plan = chunks.plan(first=4, committed=5)
    np.testing.assert_allclose(plan.actions[:, 0], np.arange(4, 16))
    np.testing.assert_allclose(plan.weights[:5], 1)
    np.testing.assert_allclose(plan.weights[5:], soft_mask(7))
    assert (np.diff(plan.weights[5:]) < 0).all()
    assert plan.weights[5] > 0.6
    assert plan.weights[-1] < 0.1


def test_real_time_chunking_joins_an_answer_as_the_policy_was_told():
    chunks = RealTimeChunking()
    chunks.add(np.zeros((16, 7)), observed=0)
    for tick in range(9):
        chunks.at(tick)
    told = chunks.plan(first=6, committed=3)
    chunks.add(np.ones((16, 7)), observed=6)
    stream = [chunks.at(tick).action[0] for tick in range(9, 22)]
    np.testing.assert_allclose(stream[:7], 1 - told.weights[3:], atol=1e-6)
    np.testing.assert_allclose(stream[7:], 1)


def test_real_time_chunking_asks_for_nothing_where_nothing_is_planned():
    chunks = RealTimeChunking()
    assert chunks.plan(first=0, committed=2) is None
    chunks.add(ramp(10), observed=10)
    chunks.at(12)
    before = chunks.plan(first=8, committed=2)
    assert (before.weights[:4] == 0).all()  # ticks 8 to 11 were never planned
    assert chunks.plan(first=26, committed=2) is None
