"""Executing chunks: what is asked when, and which action comes out."""

from pathlib import Path

import numpy as np

from sim.evaluation.chunk_execution import OpenLoop, TemporalEnsemble


def chunk(first: float, horizon: int = 4) -> np.ndarray:
    """Actions that count up from ``first`` in all seven numbers."""
    return np.repeat(np.arange(horizon)[:, None] + np.float32(first), 7, axis=1)


def test_open_loop_executes_the_first_actions_of_a_chunk_and_asks_again():
    chunks = OpenLoop(replan=2)
    asked, actions = [], []
    for step in range(5):
        asked.append(chunks.due)
        if chunks.due:
            chunks.put(chunk(10 * step))
        actions.append(chunks.next()[0])
    assert asked == [True, False, True, False, True]
    assert actions == [0, 1, 20, 21, 40]


def test_the_ensemble_asks_at_every_step_and_weighs_the_oldest_prediction_most():
    chunks = TemporalEnsemble(decay=1.0)
    chunks.put(chunk(1.0))
    chunks.next()
    assert chunks.due
    chunks.put(chunk(12.0))
    weights = np.exp([0.0, -1.0])
    np.testing.assert_allclose(chunks.next()[0], (weights @ [2.0, 12.0]) / weights.sum(), rtol=1e-6)


def test_the_ensemble_gives_the_published_actions_golden(golden: Path):
    import torch

    case = torch.load(golden / "functions.pt", weights_only=True)["temporal_ensembling"]["temporal_agg_never"]
    for predicted, executed in zip(case["policy_outputs"].numpy(), case["executed_actions"].numpy(), strict=True):
        chunks = TemporalEnsemble(case["k"])
        for prediction, action in zip(predicted, executed, strict=True):
            chunks.put(prediction)
            np.testing.assert_allclose(chunks.next(), action, atol=1e-6)
