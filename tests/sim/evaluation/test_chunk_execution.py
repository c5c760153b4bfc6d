"""Executing chunks: what is asked when, which action comes out, and what latency does."""

from pathlib import Path

import numpy as np
import pytest

from policy.chunks import JOINERS, TemporalEnsemble
from sim.evaluation.chunk_execution import ChunkExecution, Execution


def chunk(first: float, horizon: int = 4) -> np.ndarray:
    """Actions that count up from ``first`` in all seven numbers."""
    return np.repeat(np.arange(horizon)[:, None] + np.float32(first), 7, axis=1)


def test_open_loop_executes_the_first_actions_of_a_chunk_and_asks_again():
    chunks = ChunkExecution(Execution(replan=2))
    asked, actions = [], []
    for step in range(5):
        asked.append(chunks.due)
        if chunks.due:
            chunks.put(chunk(10 * step))
        actions.append(chunks.next()[0])
    assert asked == [True, False, True, False, True]
    assert actions == [0, 1, 20, 21, 40]


def test_chunks_that_are_shorter_than_replan_are_asked_for_when_they_end():
    chunks = ChunkExecution(Execution(replan=8))
    actions = []
    for step in range(6):
        if chunks.due:
            chunks.put(chunk(10 * step))
        actions.append(chunks.next()[0])
    assert actions == [0, 1, 2, 3, 40, 41]


def test_the_ensemble_asks_at_every_step_and_weighs_the_oldest_prediction_most():
    chunks = ChunkExecution(Execution("ensemble", replan=1))
    chunks.put(chunk(1.0))
    chunks.next()
    assert chunks.due
    chunks.put(chunk(12.0))
    weights = np.exp([0.0, -0.01])
    np.testing.assert_allclose(chunks.next()[0], (weights @ [2.0, 12.0]) / weights.sum(), rtol=1e-6)


def test_the_ensemble_gives_the_published_actions_golden(golden: Path):
    import torch

    case = torch.load(golden / "functions.pt", weights_only=True)["temporal_ensembling"]["temporal_agg_never"]
    for predicted, executed in zip(case["policy_outputs"].numpy(), case["executed_actions"].numpy(), strict=True):
        chunks = TemporalEnsemble(case["k"])
        for step, (prediction, action) in enumerate(zip(predicted, executed, strict=True)):
            chunks.add(prediction, step)
            np.testing.assert_allclose(chunks.at(step).action, action, atol=1e-6)


def test_a_late_chunk_skips_what_has_passed_and_the_old_one_goes_on_till_then():
    chunks = ChunkExecution(Execution(replan=4, latency=101))  # 3 steps of 50 ms
    actions, asked = [], []
    for step in range(12):
        asked.append(chunks.due)
        if chunks.due:
            chunks.put(chunk(100 * step, horizon=16))
        actions.append(chunks.next()[0])
    assert np.flatnonzero(asked).tolist() == [0, 4, 8]
    assert actions == [0, 0, 0, 3, 4, 5, 6, 403, 404, 405, 406, 803]


def test_the_arm_waits_with_its_fingers_as_they_are_where_no_chunk_reaches():
    chunks = ChunkExecution(Execution(replan=4, latency=200))
    chunks.put(np.full((6, 7), 0.5, np.float32))
    actions = [chunks.next() for _ in range(8)]
    np.testing.assert_array_equal(actions[0], [0, 0, 0, 0, 0, 0, -1])
    np.testing.assert_array_equal(actions[4], np.full(7, 0.5))
    np.testing.assert_array_equal(actions[6], [0, 0, 0, 0, 0, 0, 0.5])


@pytest.mark.parametrize("join", sorted(set(JOINERS) - {"switch"}))
def test_joins_are_smoother_than_a_switch(join: str):
    def largest_jump(name: str) -> float:
        chunks, jumps = ChunkExecution(Execution(name, replan=4, latency=100)), []
        for step in range(20):
            if chunks.due:
                chunks.put(np.full((16, 7), float(step % 8 == 0)))
            chunks.next()
            if chunks.jump is not None:
                jumps.append(np.abs(chunks.jump).max())
        assert len(jumps) >= 3
        return max(jumps)

    assert largest_jump(join) < 0.6 < largest_jump("switch")


def test_what_a_chunk_is_to_go_on_with_is_what_will_be_executed_till_it_comes():
    chunks = ChunkExecution(Execution("realtime", replan=4, latency=150))
    for _ in range(4):
        if chunks.due:
            chunks.put(chunk(0, horizon=16))
        chunks.next()
    plan = chunks.plan
    assert chunks.due
    np.testing.assert_array_equal(plan.actions[:, 0], np.arange(4, 16))
    assert (plan.weights[:3] == 1).all()
    assert (plan.weights[3:] < 1).all()
    chunks.put(chunk(100, horizon=16))
    assert [chunks.next()[0] for _ in range(3)] == [4, 5, 6]
