"""Measures of tracks stand beside those of standing still, for each view."""

import torch

from tokenizer.tracks.metrics import metrics_beside_still, metrics_text, motion_explained, trajectory_metrics

SIZE, VIEWS = (128, 128), ("agentview", "eye_in_hand")


def motion(speed_of_first: float, speed_of_second: float) -> torch.Tensor:
    """Paths (1, 2, 16, 4, 2) that move by so many pixels a step, in the first and in the second view."""
    steps = torch.arange(16).view(16, 1, 1) * 2 / 128
    views = [steps * speed for speed in (speed_of_first, speed_of_second)]
    return torch.stack(views).expand(2, 16, 4, 2).unsqueeze(0) - 0.5


def test_every_measure_has_its_baseline_in_every_view() -> None:
    found = metrics_beside_still(motion(0, 2), motion(0, 3), SIZE, VIEWS)
    whole = trajectory_metrics(motion(0, 2), motion(0, 3), SIZE)
    assert {name: found[name] for name in whole} == whole
    for name in set(whole) - {"nonzero_gt_percent"}:
        for part in ("", "agentview/", "eye_in_hand/"):
            assert {f"{part}{name}", f"{part}still/{name}"} <= found.keys()


def test_standing_still_is_measured_as_a_prediction_that_nothing_moves() -> None:
    still, truth = motion(0, 0), motion(0, 3)
    found = metrics_beside_still(still, truth, SIZE, VIEWS)
    for name, value in trajectory_metrics(still, truth, SIZE).items():
        assert value == found.get(f"still/{name}", found[name])
    assert found["agentview/still/delta_auc"] == 1
    assert found["eye_in_hand/still/delta_auc"] < 0.3
    assert motion_explained(found) == {
        "motion_explained": 0,
        "agentview/motion_explained": 1,
        "eye_in_hand/motion_explained": 0,
    }


def test_the_motion_explained_is_that_of_the_mean_errors() -> None:
    assert motion_explained({"mse": 0.25, "still/mse": 1.0, "a/mse": 3.0, "a/still/mse": 2.0, "loss": 1.0}) == {
        "motion_explained": 0.75,
        "a/motion_explained": -0.5,
    }


def test_the_text_is_a_line_of_single_numbers_and_a_row_for_each_measure_of_tracks() -> None:
    found = {"loss": 3.0, **metrics_beside_still(motion(0, 3), motion(0, 3), SIZE, VIEWS)}
    lines = metrics_text(found | motion_explained(found), prefix="val/").splitlines()
    assert lines[0] == "val/loss 3"
    assert lines[1].split() == ["tracks", "(standing", "still)", "all", "agentview", "eye_in_hand"]
    rows = {line.split()[0]: line.split()[1:] for line in lines[2:]}
    assert rows["delta_auc"][2:] == ["1", "(1)", "1", f"({found['eye_in_hand/still/delta_auc']:.4g})"]
    assert rows["nonzero_gt_percent"] == ["0.5", "0", "1"]
    assert rows["motion_explained"] == ["1", "1", "1"]
