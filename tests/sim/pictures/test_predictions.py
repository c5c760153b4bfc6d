"""Predictions are measured from where the true points start, and samples come from the likeliest codes."""

from pathlib import Path

import numpy as np
import pytest
import torch

from common.errors import UserError
from sim.pictures.inputs import Frame
from sim.pictures.predictions import Predictor
from tests.sim.examples import ShiftsRight, save_untrained_bundle


def test_predictions_are_measured_from_where_the_true_points_start():
    policy = ShiftsRight()
    truth = np.zeros((2, 16, 4, 2), np.float32)
    truth[..., 0, 1] = np.linspace(-0.75, 0.75, 16)
    prediction = Predictor(policy, "x")(0, Frame(np.zeros((2, 32, 32, 3), np.uint8), tracks=truth))
    assert prediction.metrics["mse"] == pytest.approx(0, abs=1e-9)
    assert prediction.metrics["delta_auc"] == 1


def test_a_policy_without_samples_is_named():
    with pytest.raises(UserError, match="has one prediction only"):
        Predictor(ShiftsRight(), "x", samples=8)


def test_samples_differ_and_come_from_the_likeliest_codes(tmp_path: Path):
    from policy import load_policy

    save_untrained_bundle(tmp_path / "policy.safetensors")
    policy = load_policy(tmp_path / "policy.safetensors")
    images, queries = np.zeros((1, 2, 64, 64, 3), np.uint8), np.zeros((1, 2, 1, 4, 2), np.float32)
    torch.manual_seed(0)
    codes, points = policy.sample_traj(images, queries, ["x"], samples=6)
    assert codes.shape == (1, 6, 15)
    assert points.shape == (1, 6, 2, 16, 4, 2)
    assert len({tuple(sample) for sample in codes[0]}) > 1
    greedy, points = policy.sample_traj(images, queries, ["x"], samples=2, top_k=1)
    assert (greedy[0] == policy.predict_codes(images, ["x"])[0]).all()
    assert np.allclose(points[0, 1], policy.predict_traj(images, queries, ["x"])[0])
