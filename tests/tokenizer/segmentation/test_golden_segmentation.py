"""Energies, cuts, thresholds and scores: the golden data of the tokenizer's extras."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from demos.phases import Segment
from tests.tokenizer.golden import load
from tokenizer.segmentation.cutting import Cutting, active_windows, cut
from tokenizer.segmentation.energy import (
    smoothed,
    stands_still,
    token_energy,
    velocity_energy,
)
from tokenizer.segmentation.scores import boundary_f1, mean_average_precision, overlap, segment_f1
from tokenizer.segmentation.thresholds import best_by_score, best_without_truth, candidates, otsu

LAPS_STEP = 0.4


@pytest.fixture(scope="module")
def golden_energy(golden: Path) -> dict[str, Any]:
    return load(golden, "tokenizer_extras")["energy"]


def of(segments: list[list[float]]) -> list[Segment]:
    return [Segment(*segment) for segment in segments]


def test_golden_energies_of_windows(golden_energy: dict[str, Any]) -> None:
    windows = golden_energy["windows"]
    for name, tokens in (("prequant", windows["z"]), ("quantized", windows["q"])):
        for key, measure in (("l2", "length"), ("diff", "change")):
            np.testing.assert_allclose(token_energy(tokens, measure), windows[f"{name}_{key}"], rtol=1e-5)
    velocities = windows["velocity"][None]
    np.testing.assert_allclose(velocity_energy(velocities), [windows["velocity_energy"]], rtol=1e-5)
    for gate in windows["motion_gate"]:
        found = stands_still(velocities * gate["scale"], gate["thr"], gate["min_active"])
        assert bool(found) == gate["dropped"]


def test_golden_energy_of_a_single_token_is_its_length(golden_energy: dict[str, Any]) -> None:
    windows = golden_energy["windows"]
    lengths = windows["q"].norm(dim=-1)
    assert float((lengths - windows["single_token_diff"]).abs().min()) < 1e-5
    torch.testing.assert_close(token_energy(windows["q"][:, :1]), lengths[:, 0])


def test_golden_smoothing(golden_energy: dict[str, Any]) -> None:
    series = golden_energy["series"].numpy()
    for case in golden_energy["smoothing"]:
        if case["method"] == "ema":
            np.testing.assert_allclose(smoothed(series, case["alpha"]), case["out"], rtol=1e-5)


def test_golden_cuts(golden_energy: dict[str, Any]) -> None:
    series = golden_energy["series"].numpy()
    for case in golden_energy["segmentation"]:
        cutting = Cutting(
            case["threshold_on"],
            case["hysteresis_ratio"],
            case["up_count"],
            case["down_count"],
            case["cooldown"],
            case["max_windows"],
            shortest=0,
            align="laps",
        )
        assert [list(pair) for pair in active_windows(series, cutting)] == case["segments"]
        found = cut(series, cutting, stride=4, length=16, rate=10, duration=100)
        np.testing.assert_allclose(np.array(found).reshape(-1, 2), np.array(case["seconds"]).reshape(-1, 2), rtol=1e-9)


def test_golden_scores_of_segments(golden_energy: dict[str, Any]) -> None:
    golden = golden_energy["evaluation"]
    names = list(golden["ground_truth"])
    true, found = ({name: of(golden[key][name]) for name in names} for key in ("ground_truth", "predictions"))
    for case in golden["iou"]:
        assert overlap(Segment(*case["a"]), Segment(*case["b"])) == pytest.approx(case["iou"])
    for case in golden["boundary_f1"]:
        video = case["video"]
        scores = boundary_f1(true[video], found[video], golden["duration"], case["tol"])
        assert scores == pytest.approx(tuple(case["f1_precision_recall"]))
    scored = [(names.index(name), Segment(*segment), confidence) for name, segment, confidence in golden["scored"]]
    for least in (0.3, 0.5, 0.75):
        precision = mean_average_precision(list(true.values()), scored, least)
        assert precision == pytest.approx(golden["mean_ap"][f"mAP@{least}"])
        f1 = segment_f1(list(true.values()), list(found.values()), least).f1
        recommended = {float(key): value for key, value in golden["f1_at_iou_recommended"].items()}
        assert f1 == pytest.approx(recommended[least])


def test_golden_thresholds(golden_energy: dict[str, Any]) -> None:
    golden, series = golden_energy["thresholds"], golden_energy["series"].numpy()
    thresholds = candidates(series)
    np.testing.assert_allclose(thresholds, golden["candidates"], rtol=1e-9)
    true, duration = of(golden["ground_truth_seconds"]), len(series) * LAPS_STEP

    def score(threshold: float):
        found = cut(series, Cutting(threshold, align="laps"), stride=4, length=16, rate=10, duration=duration)
        return boundary_f1(true, found, duration, tolerance=2.0)

    for threshold, wanted in zip(thresholds, golden["f1_precision_recall"], strict=True):
        assert score(threshold) == pytest.approx(tuple(wanted)), threshold
    assert best_by_score(thresholds, score) == pytest.approx(golden["best"])
    velocity = golden["velocity"].numpy()
    assert otsu(velocity) == pytest.approx(golden["otsu"])
    assert best_without_truth(series, velocity) == pytest.approx(golden["best_f1"]["thr"])
