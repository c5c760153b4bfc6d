"""Episodes as a table."""

import csv
from pathlib import Path

from sim.evaluation.results import EpisodeResult, Results
from sim.report.csv_export import write_csv
from tests.sim.examples import SETTINGS


def test_every_episode_is_a_row_with_its_instruction_and_outcome(tmp_path: Path):
    results = Results(tmp_path / "results.json", SETTINGS)
    for number, (success, error) in enumerate(((True, None), (False, None), (False, 'Traceback\nOSError: no, "it"'))):
        name = "KITCHEN_SCENE8_put_both_moka_pots_on_the_stove"
        results.add(EpisodeResult("libero_10", 8, name, number, number, 7 + number, success, 9 * number, 1.5, error))
    write_csv(results, tmp_path / "table.csv")
    with open(tmp_path / "table.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["outcome"] for row in rows] == ["success", "failure", "error"]
    assert rows[1] == {
        "suite": "libero_10",
        "task": "8",
        "task_name": "KITCHEN_SCENE8_put_both_moka_pots_on_the_stove",
        "instruction": "put both moka pots on the stove",
        "episode": "1",
        "init_state": "1",
        "seed": "8",
        "outcome": "failure",
        "steps": "9",
        "wall_time_s": "1.5",
    }
