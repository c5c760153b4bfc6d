"""Commands whose disk is full, or becomes full while they run: one line, and nothing that was measured is lost."""

import re
import resource
import shlex
from pathlib import Path
from types import ModuleType

import pytest

from sim import collect, scene
from sim.evaluation.results import EpisodeResult, Results
from sim.report import __main__ as report
from tests.machines import run_after, small_disk
from tests.sim.examples import SETTINGS


def full(folder: Path) -> str:
    """The preparation that leaves no room in ``folder``."""
    return f"cat /dev/zero > {shlex.quote(str(folder / 'filler'))} 2>/dev/null || true"


def test_an_evaluation_keeps_its_episodes_elsewhere_when_its_disk_fills_up(libero_assets: Path, tmp_path: Path):
    out, elsewhere = tmp_path / "small", tmp_path / "elsewhere"
    elsewhere.mkdir()
    filling = f"(while [ ! -s {out}/results.json ]; do sleep 0.05; done; {full(out)}) &"
    command = [
        "sim.eval",
        "--policy",
        "expert",
        "--tasks",
        "5",
        "--episodes",
        "2",
        "--max-steps",
        "3",
        "--workers",
        "1",
    ]
    command += [
        "--video",
        "all",
        "--report",
        "--csv",
        str(out / "table.csv"),
        "--assets",
        str(libero_assets),
        "--out",
        str(out),
    ]
    done = run_after(f"{small_disk(out, '1m')}\n{filling}", command, TMPDIR=str(elsewhere))
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    told = re.fullmatch(
        rf"error: cannot write {out}/results.json \(No space left on device\); all 1 episodes are in (\S+): make room, "
        "move it there, and repeat the command",
        line,
    )
    assert told
    assert list(Results.load(Path(told[1])).episodes) == [("libero_10", 5, 0)]
    said = " ".join(done.stdout.split())
    assert "no video of libero_10 task 5 episode 0:" in said
    assert "disk:" in said, "the warning at the start"


def test_an_evaluation_that_cannot_begin_its_file_plays_nothing(libero_assets: Path, tmp_path: Path):
    out = tmp_path / "small"
    command = ["sim.eval", "--policy", "expert", "--assets", str(libero_assets), "--out", str(out / "new")]
    done = run_after(f"{small_disk(out, '64k')}\n{full(out)}", command)
    assert done.returncode == 2
    assert done.stderr == (
        f"error: cannot write {out}/new/results.json (No space left on device); "
        "make room, or name another --out or --csv\n"
    )
    assert done.stdout == ""


def test_a_last_episode_that_fits_nowhere_is_told(tmp_path: Path):
    """Files of this process cannot grow: as if every disk were full."""
    results = Results(tmp_path / "results.json", SETTINGS)
    results.add(EpisodeResult("libero_10", 5, "put_it_there", 0, 0, 0, True, 100, 1.5))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    try:
        with pytest.raises(Exception, match=r"File too large.*'episode': 1, .*'success': False, 'steps': 520"):
            results.add(EpisodeResult("libero_10", 5, "put_it_there", 1, 1, 1, False, 520, 9.5))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(Results.load(results.path).episodes) == [("libero_10", 5, 0)]


@pytest.mark.slow
def test_a_collection_begins_no_episode_that_does_not_fit(libero_assets: Path, tmp_path: Path):
    out = tmp_path / "small"
    command = ["sim.collect", "--suite", "libero_object", "--tasks", "1", "--episodes", "2", "--workers", "1"]
    command += ["--image-size", "32", "--fast-render", "--assets", str(libero_assets), "--out", str(out)]
    done = run_after(small_disk(out, "64k"), command)
    assert done.returncode == 2
    assert "warning: disk:" in done.stderr
    assert done.stderr.splitlines()[-1] == f"error: {out}/demos/libero_object: No space left on device"
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", ["collect", "scene"])
def test_a_command_that_cannot_write_says_so_before_it_begins(libero_assets: Path, tmp_path: Path, command: str):
    out = tmp_path / "small"
    options = ["--suite", "libero_object", "--assets", str(libero_assets), "--out"]
    options += [str(out / "scene.xml")] if command == "scene" else [str(out)]
    done = run_after(f"{small_disk(out, '64k')}\n{full(out)}", [f"sim.{command}", *options])
    assert (done.returncode, done.stdout) == (2, "")
    folder = out if command == "scene" else out / "demos"
    assert done.stderr == f"error: {folder}: No space left on device\n"


def test_a_report_that_cannot_be_written_is_one_line(tmp_path: Path):
    out = tmp_path / "small"
    results = Results(tmp_path / "results.json", SETTINGS)
    results.add(EpisodeResult("libero_10", 5, "put_it_there", 0, 0, 0, True, 100, 1.5))
    done = run_after(f"{small_disk(out, '64k')}\n{full(out)}", ["sim.report", results.path, "--out", out])
    assert done.returncode == 2
    assert re.fullmatch(rf"error: {out}\S*: No space left on device\n", done.stderr)


@pytest.mark.parametrize("command", [collect, scene, report])
def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path, command: ModuleType):
    file = tmp_path / "file"
    file.write_text("")
    results = Results(tmp_path / "results.json", SETTINGS)
    results.add(EpisodeResult("libero_10", 5, "put_it_there", 0, 0, 0, True, 100, 1.5))
    options = [str(results.path)] if command is report else ["--suite", "libero_object"]
    with pytest.raises(NotADirectoryError) as caught:
        command.main([*options, "--out", str(file / "new" / "scene.xml")])
    assert str(caught.value.filename).startswith(str(file))
