"""An evaluation's episodes as a table for other programs, a row each."""

import csv
from pathlib import Path

from common.files import replacing
from demos.language import language_of
from sim.evaluation.results import Results

COLUMNS = (
    "suite", "task", "task_name", "instruction", "episode", "init_state", "seed", "outcome", "steps", "wall_time_s",
)  # fmt: skip


def write_csv(results: Results, path: Path) -> None:
    """Write the episodes that are there, in order; ``outcome`` is success, failure or error."""
    with replacing(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, COLUMNS, extrasaction="ignore")
        table.writeheader()
        for _, episode in sorted(results.episodes.items()):
            outcome = "error" if episode.error else "success" if episode.success else "failure"
            table.writerow(vars(episode) | {"instruction": language_of(episode.task_name), "outcome": outcome})
