"""Results: honest rates, a file that is always whole, and runs that only continue what is theirs."""

import dataclasses
import json
from pathlib import Path

import pytest

from common.errors import UserError
from sim.evaluation.results import EpisodeResult, EvaluationSettings, Results, ResultsMismatch, Score, wilson

SETTINGS = EvaluationSettings(
    policy="expert", seed=0, execution="open loop, 8 steps", blank_codes=False, max_steps=None,
    settle_steps=10, fast_render=False, assets="0123", mujoco="3.3.2", robosuite="1.4.0",
)  # fmt: skip


def episode(number: int, success: bool = True, error: str | None = None) -> EpisodeResult:
    return EpisodeResult("libero_10", 0, "put_it_there", number, number, number, success, 100 + number, 1.5, error)


def test_wilson_interval_has_the_textbook_values_and_stays_inside_zero_to_one():
    assert wilson(9, 10) == pytest.approx((0.5958, 0.9821), abs=1e-4)
    assert wilson(0, 10) == pytest.approx((0.0, 0.2775), abs=1e-4)
    assert wilson(50, 50)[1] == pytest.approx(1.0)
    assert wilson(0, 0) == (0.0, 1.0)


def test_a_broken_episode_is_neither_success_nor_failure():
    score = Score.of([episode(0), episode(1, success=False), episode(2, success=False, error="Traceback ...")])
    assert (score.episodes, score.successes, score.errors, score.rate) == (2, 1, 1, 0.5)


def test_results_survive_the_disk(tmp_path: Path):
    results = Results(tmp_path / "out" / "results.json", SETTINGS, {"command": "python -m sim.eval"})
    results.add(episode(1))
    results.add(episode(0, success=False))
    again = Results.load(results.path)
    assert again == results
    assert [path.name for path in results.path.parent.iterdir()] == ["results.json"]
    content = json.loads(results.path.read_text())
    assert content["suites"]["libero_10"]["success_rate"] == 0.5
    assert content["suites"]["libero_10"]["tasks"][0]["task_name"] == "put_it_there"


def of_suite(suite: str, number: int, success: bool) -> EpisodeResult:
    return dataclasses.replace(episode(number, success), suite=suite)


def test_the_average_counts_every_suite_the_same_however_many_episodes_it_has(tmp_path: Path):
    results = Results(tmp_path / "results.json", SETTINGS)
    results.add(of_suite("libero_10", 0, True))
    assert results.average is None
    assert json.loads(results.path.read_text())["average"] is None
    for number, success in enumerate((False, False, True, False)):
        results.add(of_suite("libero_spatial", number, success))
    assert results.average == pytest.approx((1.0 + 0.25) / 2)
    average = json.loads(results.path.read_text())["average"]
    assert average == {"suites": ["libero_10", "libero_spatial"], "success_rate": 0.625}
    assert Results.load(results.path) == results


def test_a_run_that_continues_keeps_the_date_and_adds_to_the_time(tmp_path: Path):
    path = tmp_path / "results.json"
    results = Results.open(path, SETTINGS, {"date": "2026-01-01T10:00:00+00:00", "command": "first"})
    results.add(episode(0))
    content = json.loads(path.read_text())
    assert 0 <= content["wall_time_s"] < 60
    path.write_text(json.dumps(content | {"wall_time_s": 500.0}))
    again = Results.open(path, SETTINGS, {"date": "2026-01-02T10:00:00+00:00", "command": "second"})
    again.add(episode(1))
    content = json.loads(path.read_text())
    assert (content["date"], content["command"]) == ("2026-01-01T10:00:00+00:00", "second")
    assert 500.0 <= content["wall_time_s"] < 560


def test_a_file_from_before_there_were_averages_dates_and_notes_is_read(tmp_path: Path):
    results = Results(tmp_path / "results.json", SETTINGS, {"command": "python -m sim.eval"})
    results.add(episode(0))
    content = json.loads(results.path.read_text())
    results.path.write_text(json.dumps({key: content[key] for key in content if key not in ("average", "wall_time_s")}))
    old = Results.load(results.path)
    assert (old.episodes, old.notes, old.average) == (results.episodes, [], None)


def test_a_continued_run_keeps_its_episodes_and_forgets_the_broken_ones(tmp_path: Path):
    results = Results(tmp_path / "results.json", SETTINGS)
    results.add(episode(0))
    results.add(episode(1, success=False, error="Traceback ..."))
    assert set(Results.open(results.path, SETTINGS, {}).episodes) == {("libero_10", 0, 0)}


def test_a_run_with_other_settings_does_not_continue_a_file_and_says_which(tmp_path: Path):
    Results(tmp_path / "results.json", SETTINGS).save()
    with pytest.raises(ResultsMismatch, match="was made with seed = 0, this run has 7"):
        Results.open(tmp_path / "results.json", dataclasses.replace(SETTINGS, seed=7), {})


def test_another_suite_joins_a_file_which_keeps_every_command(tmp_path: Path):
    path = tmp_path / "results.json"
    for command in ("first", "second", "second", "third"):
        results = Results.open(path, SETTINGS, {"command": command})
        results.add(dataclasses.replace(episode(0), suite=f"suite of {command}"))
    again = Results.load(path)
    assert {key[0] for key in again.episodes} == {"suite of first", "suite of second", "suite of third"}
    assert again.context == {"command": "third", "earlier_commands": ["first", "second"]}


def test_suites_among_the_settings_of_an_older_file_are_no_obstacle(tmp_path: Path):
    Results(tmp_path / "results.json", SETTINGS).add(episode(0))
    content = json.loads((tmp_path / "results.json").read_text())
    content["settings"]["suites"] = ["libero_goal"]
    (tmp_path / "results.json").write_text(json.dumps(content))
    assert len(Results.open(tmp_path / "results.json", SETTINGS, {}).episodes) == 1


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        '{"format": 1}',
        '{"format": 99}',
        '{"format": 1, "settings": {}}',
        '{"format": 1, "settings": [1]}',
    ],
)
def test_a_damaged_file_is_named(tmp_path: Path, content: str):
    path = tmp_path / "results.json"
    path.write_text(content)
    with pytest.raises(UserError, match=r"results\.json"):
        Results.load(path)
