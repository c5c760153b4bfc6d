"""The pages of evaluations: right numbers, no missing files, and nothing written twice."""

import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.report import repeat
from common.errors import UserError
from sim import eval as evaluation
from sim.evaluation.replay import replay_command
from sim.evaluation.results import Results
from sim.evaluation.worker import video_path
from sim.report import __main__ as report
from sim.report.evaluation_page import write_evaluation
from tests.sim.examples import save_untrained_bundle
from tests.sim.report.examples import COMMAND, NOT_FILMED, data_of, film, make_results, predictions_in


def test_episodes_stand_by_task_failures_first_and_everything_named_exists(folder: Path):
    episodes = data_of(folder / "one" / "index.html")["episodes"]
    assert [episode["task"] for episode in episodes] == [0] * 10 + [1] * 10
    ends = [episode["runs"][0]["outcome"] for episode in episodes]
    assert ends == ["failure"] * 5 + ["success"] * 5 + ["error"] + ["success"] * 9
    for episode in episodes:
        run = episode["runs"][0]
        files = {run[name] for name in ("video", "poster", "tracks") if name in run}
        not_filmed = (episode["task"], episode["episode"]) == (NOT_FILMED % 2, NOT_FILMED // 2)
        assert len(files) == (0 if run["error"] else 1 if not_filmed else 3)
        assert all((folder / "one" / file).stat().st_size > 0 for file in files)


def test_what_is_up_to_date_is_not_written_again_and_what_changed_is(tmp_path: Path):
    results = make_results(tmp_path, "mine", lambda number: True, episodes=6)
    report.main([str(tmp_path)])
    kept = (tmp_path / "report").glob("*/*")
    before = {file: (file.stat().st_ino, file.stat().st_mtime_ns) for file in kept}
    path = video_path(tmp_path / "videos", ("libero_object", 0, 0), success=True)
    path.unlink()
    film(path)
    write_evaluation([results], tmp_path / "report")
    changed = {file.name for file, state in before.items() if (file.stat().st_ino, file.stat().st_mtime_ns) != state}
    assert len(before) == 4 * 3 + 1
    assert changed == {f"a-{path.stem}.mp4", f"a-{path.stem}.jpg"}


def test_a_report_of_five_hundred_episodes_takes_seconds(tmp_path: Path):
    large = repeat(make_results(tmp_path / "small", "mine", lambda number: True), tmp_path / "large", 500)
    spent = []
    for _ in range(2):
        begin = time.process_time()
        write_evaluation([large], tmp_path / "large" / "report")
        spent.append(time.process_time() - begin)
    assert len(data_of(tmp_path / "large" / "report" / "index.html")["episodes"]) == 500
    assert spent[0] < 10
    assert spent[1] < 2


def test_the_command_starts_without_torch():
    code = "import sys, sim.report.__main__, sim.report.evaluation_page; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"


def test_the_page_shows_the_numbers_of_the_results(folder: Path):
    page = (folder / "one" / "index.html").read_text()
    assert "14 of 19" in page
    assert "73.7%" in page
    assert "(1 broke)" in page
    assert "51% to 88%" in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "https://" not in page
    assert "<b>exploded" not in page


def test_the_head_says_what_was_evaluated_when_and_in_what(folder: Path):
    page = (folder / "many" / "index.html").read_text()
    head = page[page.index("<header>") : page.index("</header>")]
    assert "played in the procedural pack: &lt;not&gt; comparable" in head
    assert "the pack abc" in head
    assert "MuJoCo 3.3.2" in head
    assert time.strftime("%Y-") in head
    assert COMMAND.replace("'", "&#x27;") in head


def test_several_suites_have_an_average_that_weighs_them_alike(folder: Path):
    page = (folder / "many" / "index.html").read_text()
    assert re.search(r"average over 2 suites</th>.*?49\.3%.*?47 of 77", page)  # of 73.7 % and 25 %
    assert "average over" not in (folder / "one" / "index.html").read_text()


def test_the_comparison_counts_pairs_and_their_p_value(folder: Path):
    page = (folder / "two" / "index.html").read_text()
    assert "19 pairs with the same initial state; 9 end differently, 9 for first and 0 for second" in page
    assert f"p = {2 / 2**9:.3f}" in page
    assert "<strong>first</strong> is better" in page
    ends = [tuple(r["outcome"] for r in e["runs"]) for e in data_of(folder / "two" / "index.html")["episodes"]]
    differs = [first != second for first, second in ends]
    assert differs == [True] * 5 + [False] * 5 + [True] * 4 + [False] * 6  # first in each of both tasks


def test_the_command_replays_that_very_episode(folder: Path):
    results = Results.load(folder / "first" / "results.json")
    command = replay_command(results, results.episodes["libero_object", 1, 4])
    assert command == (
        "python -m sim.eval --checkpoint 'my policy.safetensors' --seed 7 --suite libero_object --tasks 1 --first 4 "
        "--episodes 1 --report"
    )


def test_an_evaluation_writes_its_report(libero_assets: Path, tmp_path: Path):
    save_untrained_bundle(tmp_path / "policy.safetensors")
    command = ["--checkpoint", str(tmp_path / "policy.safetensors"), "--suite", "libero_object", "--tasks", "0"]
    command += ["--first", "3", "--episodes", "1", "--max-steps", "9", "--workers", "1", "--report"]
    assert evaluation.main([*command, "--assets", str(libero_assets), "--out", str(tmp_path / "out")]) == 0
    (episode,) = data_of(tmp_path / "out" / "report" / "index.html")["episodes"]
    assert (episode["episode"], episode["runs"][0]["init_state"], episode["runs"][0]["steps"]) == (3, 3, 9)
    packed, _ = predictions_in(next((tmp_path / "out" / "videos").glob("*.tracks.js")))
    assert packed["steps"] == [0, 8]
    assert [len(views) for views in packed["counts"]] == [2, 2]


def test_wrong_inputs_are_named(tmp_path: Path):
    with pytest.raises(UserError, match="cannot read"):
        report.main([str(tmp_path / "absent.json")])
    with pytest.raises(UserError, match="or two to compare"):
        report.main([])
    with pytest.raises(UserError, match="no training run at"):
        report.main(["--train", str(tmp_path / "absent")])
    with pytest.raises(UserError, match="holds no TensorBoard files"):
        report.main(["--train", str(tmp_path)])
    (tmp_path / "results.json").write_text("{}")
    with pytest.raises(UserError, match="is not a results file"):
        report.main([str(tmp_path)])
