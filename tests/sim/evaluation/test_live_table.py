"""What a user sees of an evaluation."""

import dataclasses
import io
from pathlib import Path

from rich.console import Console, RenderableType

from sim.evaluation.live_table import LiveTable, score_table
from sim.evaluation.results import EpisodeResult, Results
from tests.sim.examples import SETTINGS

EPISODE = EpisodeResult("libero_10", 0, "put_it_there", 0, 0, 0, True, 100, 1.5)


def shown(what: RenderableType) -> str:
    """What stands on a screen of 100 columns."""
    console = Console(width=100, file=io.StringIO(), record=True)
    console.print(what)
    return console.export_text()


def results_of(tmp_path: Path, *episodes: EpisodeResult, **context: object) -> Results:
    return Results(tmp_path / "results.json", SETTINGS, context, {episode.key: episode for episode in episodes})


def test_a_suite_and_its_tasks_have_their_rates(tmp_path: Path):
    lost = dataclasses.replace(EPISODE, episode=1, success=False)
    table = shown(score_table(results_of(tmp_path, EPISODE, lost), {("libero_10", 0): 4}))
    assert "1/2" in table
    assert "50.0%" in table
    assert "2/4" in table


def test_several_suites_have_an_average_below(tmp_path: Path):
    lost = dataclasses.replace(EPISODE, suite="libero_goal", success=False)
    results = results_of(tmp_path, EPISODE, lost)
    table = shown(score_table(results, {("libero_goal", 0): 1, ("libero_10", 0): 1}))
    (line,) = [line for line in table.splitlines() if "average over 2 suites" in line]
    assert "50.0%" in line
    assert "average" not in shown(score_table(results_of(tmp_path, EPISODE), {("libero_10", 0): 1}))


def test_notes_stand_below_the_scores(tmp_path: Path):
    results = results_of(tmp_path, EPISODE, notes=["scores there are not comparable with published ones"])
    console = Console(width=100, file=io.StringIO(), record=True)
    with LiveTable(results, {("libero_10", 0): 1}, console) as table:
        table.update(EPISODE)
    assert "not comparable" in console.export_text().splitlines()[-1]
