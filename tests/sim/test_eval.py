"""The evaluation command, with real LIBERO episodes cut short."""

import json
import resource
import signal
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path

import cv2
import pytest

from common.errors import UserError
from demos.origin import Origin
from sim import eval as evaluation
from sim.evaluation.results import Results
from sim.evaluation.worker import video_path
from sim.libero.procedural import build
from sim.report import __main__ as report
from tests.machines import run_after, without_egl
from tests.sim.examples import save_untrained_bundle


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--suite", "libero_11"], "unknown suite 'libero_11'; the suites are libero_spatial"),
        (["--tasks", "0,10"], "libero_10, which has tasks 0 to 9: 0 put both"),
        (["--tasks", "one"], "cannot read --tasks 'one'"),
        (["--tasks", "5-3"], "--tasks 5-3 has the range 5-3, which runs backwards; write 3-5"),
        (["--tasks", "0,9-7,1"], "the range 9-7, which runs backwards"),
        (["--policy", "expert", "--blank-codes"], "the expert has neither weights nor chunks of actions"),
        (
            ["--policy", "expert", "--checkpoint", "x.safetensors", "--ensemble"],
            "--checkpoint x.safetensors --ensemble",
        ),
        (["--policy", "expert", "--device", "cpu", "--replan", "4"], "leave out --replan 4 --device cpu"),
        (["--workers", "0"], "--workers: '0' is not a whole number above 0"),
        (["--episodes", "-3"], "--episodes"),
        (["--replan", "4", "--ensemble"], "not allowed with"),
        (["--ensemble", "--join", "blend"], "both say how chunks are joined"),
        (["--latency", "-1"], "--latency: '-1' is not a number of milliseconds from 0"),
        (["--join", "glue"], "--join"),
        (["--policy", "expert", "--latency", "100"], "leave out --latency 100"),
        (["--video-size", "255"], "--video-size: '255' is not an even number"),
        (["--policy", "random"], "unknown --policy 'random'"),
        (["--switch-instruction", "soon"], "--switch-instruction: 'soon' is not STEP:TASK, for example 40:3"),
        (["--switch-instruction", "40:3", "--tasks", "0"], "tasks 0 and 3 of libero_10 have different scenes"),
        (["--switch-instruction", "40:30"], "unknown task 30 of libero_10"),
        (["--unheard-of"], "unrecognized arguments"),
    ],
)
def test_bad_input_is_one_line_that_says_what_to_do(arguments: list[str], message: str):
    with pytest.raises(UserError) as caught:
        evaluation.main(arguments)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_bundle_or_missing_assets_are_named(libero_assets: Path, tmp_path: Path):
    with pytest.raises(UserError, match=r"no bundle at .*absent.safetensors"):
        evaluation.main(["--checkpoint", str(tmp_path / "absent.safetensors"), "--assets", str(libero_assets)])
    with pytest.raises(UserError, match="not a folder of LIBERO assets"):
        evaluation.main(["--policy", "expert", "--assets", str(tmp_path)])


def test_version_names_software_and_simulator(capsys: pytest.CaptureFixture):
    with pytest.raises(SystemExit) as caught:
        evaluation.main(["--version"])
    assert caught.value.code == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("amplify-deploy ")
    assert "mujoco 3.3.2" in second


def test_without_a_gl_library_it_ends_at_once_with_one_line(libero_assets: Path, tmp_path: Path):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = ["sim.eval", "--assets", libero_assets, "--out", tmp_path / "out"]
    done = run_after(without_egl(), command, MUJOCO_GL="egl")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: cannot render off screen with MUJOCO_GL=egl (its library is not installed); install")
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 10
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("device", ["cuda:7", "gpu", "meta"])
def test_a_device_that_cannot_be_used_is_named(libero_assets: Path, tmp_path: Path, device: str):
    bundle = tmp_path / "untrained.safetensors"
    save_untrained_bundle(bundle)
    with pytest.raises(UserError, match=rf"cannot compute on the device '{device}' .*; use cpu") as caught:
        evaluation.main(["--checkpoint", str(bundle), "--device", device, "--assets", str(libero_assets)])
    assert "\n" not in str(caught.value)


def test_the_command_writes_results_and_continues_them(libero_assets: Path, tmp_path: Path, capsys):
    command = [
        "--policy",
        "expert",
        "--suite",
        "libero_object",
        "--tasks",
        "0",
        "--max-steps",
        "4",
        "--out",
        str(tmp_path),
    ]
    command += ["--assets", str(libero_assets), "--workers", "1"]
    assert evaluation.main([*command, "--episodes", "1"]) == 0
    first = Results.load(tmp_path / "results.json")
    table = tmp_path / "table.csv"
    assert evaluation.main([*command, "--episodes", "2", "--csv", str(table)]) == 0
    assert len(table.read_text().splitlines()) == 3
    second = json.loads((tmp_path / "results.json").read_text())
    assert [episode["init_state"] for episode in second["episodes"]] == [0, 1]
    assert second["episodes"][0]["wall_time_s"] == first.episodes["libero_object", 0, 0].wall_time_s
    assert {"python", "amplify-deploy", "mujoco", "robosuite", "numpy", "gymnasium"} <= second["versions"].keys()
    assert second["machine"].keys() == {"cpu", "gpu", "gl", "policy_device"}
    assert second["machine"]["gl"]["renderer"]
    assert datetime.fromisoformat(second["date"]) <= datetime.now().astimezone()
    assert second["wall_time_s"] >= first.wall_time_s > 0
    assert "commit" in second
    assert "1 episodes on 1 workers" in capsys.readouterr().out


def test_a_run_in_the_procedural_pack_says_everywhere_that_it_is_not_comparable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    monkeypatch.setenv("LIBERO_ASSETS", str(build(tmp_path / "packs")))
    command = ["--policy", "expert", "--tasks", "5", "--episodes", "1", "--max-steps", "4", "--out", str(tmp_path)]
    assert evaluation.main(command) == 0
    content = json.loads((tmp_path / "results.json").read_text())
    assert content["assets"]["procedural"]
    assert "not comparable with published ones" in content["notes"][0]
    announced, ended = capsys.readouterr().out.split("after 4 steps")
    assert "not comparable" in announced
    assert "not comparable" in ended, "below the table"


def test_a_bundle_acts_from_images_and_instruction(libero_assets: Path, tmp_path: Path, capsys):
    bundle = tmp_path / "untrained.safetensors"
    save_untrained_bundle(bundle, Origin(assets=("0123456789abcdef",)))
    command = ["--checkpoint", str(bundle), "--tasks", "5", "--episodes", "1", "--max-steps", "4", "--replan", "2"]
    command += ["--assets", str(libero_assets), "--out", str(tmp_path / "out"), "--device", "cpu", "--blank-codes"]
    assert evaluation.main(command) == 0
    content = json.loads((tmp_path / "out" / "results.json").read_text())
    assert content["policy"]["name"] == "untrained"
    assert content["settings"]["policy"].startswith("untrained ")
    assert content["settings"]["execution"] == "open loop, 2 steps"
    assert content["settings"]["blank_codes"]
    assert content["episodes"][0]["task_name"].startswith("STUDY_SCENE1_pick_up_the_book")
    said = " ".join(capsys.readouterr().out.split())
    assert "results: " in said
    (note,) = content["notes"]
    assert f"learned from the assets 0123456789abcdef, this run uses {content['assets']['digest']}" in note
    assert note in said
    assert content["machine"]["policy_device"] == "cpu"
    with pytest.raises(UserError, match="--replan 17 is more than the 16 actions"):
        evaluation.main([*command, "--replan", "17"])
    with pytest.raises(UserError, match="--latency 800 is 16 steps, and a chunk has 16 actions"):
        evaluation.main([*command, "--latency", "800"])
    with pytest.raises(UserError, match="was made with blank_codes = True, this run has False"):
        evaluation.main(command[:-1])


def test_an_interrupted_evaluation_writes_no_report_and_says_how_to_get_one(libero_assets: Path, tmp_path: Path):
    command = [sys.executable, "-m", "sim.eval", "--policy", "expert", "--suite", "libero_object", "--tasks", "0"]
    command += ["--max-steps", "3", "--workers", "1", "--video", "none", "--report", "--out", str(tmp_path / "out")]
    process = subprocess.Popen([*command, "--assets", str(libero_assets)], stdout=subprocess.PIPE, text=True)
    results = tmp_path / "out" / "results.json"
    while process.poll() is None and not (results.exists() and Results.load(results).episodes):
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)  # as Ctrl-C, which a process in the background may be told to ignore
    printed, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert f"no report yet; of what is there: python -m sim.report {tmp_path / 'out'}" in printed
    assert not (tmp_path / "out" / "report").exists()
    report.main([str(tmp_path / "out")])
    page = (tmp_path / "out" / "report" / "index.html").read_text()
    for key in Results.load(results).episodes:  # not filmed, but each has shown its end
        poster = f"posters/a-{video_path(Path(), key, success=False).stem}.jpg"
        assert poster in page
        assert cv2.imread(str(tmp_path / "out" / "report" / poster)).shape == (128, 256, 3)


def test_another_suite_joins_an_evaluation(libero_assets: Path, tmp_path: Path):
    command = ["--policy", "expert", "--tasks", "0", "--episodes", "1", "--max-steps", "3", "--workers", "1"]
    command += ["--assets", str(libero_assets), "--out", str(tmp_path)]
    for suite in ("libero_object", "libero_goal"):
        assert evaluation.main([*command, "--suite", suite]) == 0
    content = json.loads((tmp_path / "results.json").read_text())
    assert list(content["suites"]) == ["libero_goal", "libero_object"]
    assert len(content["earlier_commands"]) == 1
