"""What a policy predicts during an evaluation is kept as it came, with the film that was kept."""

from pathlib import Path

import numpy as np

from sim.evaluation.prediction_log import PredictionLog
from sim.evaluation.results import EpisodeResult
from sim.evaluation.worker import Job, Observation, video_path
from sim.pictures.predicted_tracks import tracks_path
from sim.pictures.predictions import regular_queries
from tests.sim.examples import ShiftsRight
from tests.sim.report.examples import film, make_results, predictions_in


def test_what_is_kept_and_shown_are_the_numbers_that_the_policy_returned(tmp_path: Path):
    make_results(tmp_path, "first", lambda number: True, episodes=2)
    path = video_path(tmp_path / "videos", ("libero_object", 1, 0), success=True)
    packed, numbers = predictions_in(tracks_path(path))
    assert packed["steps"] == [0, 8, 16, 24, 32]
    assert packed["counts"] == [[1, 1]] * 5  # one point of four moves
    returned = ShiftsRight().predict_traj(np.zeros(1), regular_queries(ShiftsRight())[None], ["x"])[0]
    first = numbers[: 16 * 2].reshape(16, 2).astype(int).cumsum(0) / packed["scale"]
    assert np.abs(first - returned[0, :, 0]).max() <= 0.5 / packed["scale"]


def test_an_episode_that_begins_anew_forgets_its_predictions(tmp_path: Path):
    log = PredictionLog(ShiftsRight(), tmp_path)
    job, images = Job("libero_object", 0, 0, seed=0), np.zeros((2, 32, 32, 3), np.uint8)
    for step in (0, 8, 0, 4, 8):  # 4 is too close to be kept
        log.record([(job, Observation(images, np.zeros(9), "x", step))])
    video = video_path(tmp_path, job.key, success=False)
    film(video)
    log.save(EpisodeResult("libero_object", 0, "name", 0, 0, 0, False, 9, 1.0))
    assert predictions_in(tracks_path(video))[0]["steps"] == [0, 8]
    log.save(EpisodeResult("libero_object", 0, "name", 1, 1, 1, False, 9, 1.0))
