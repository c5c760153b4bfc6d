"""The files of a collection that was stopped."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from demos.hdf5 import DemoHeader, DemoReader, DemoWriter
from sim.collection.merging import merge, unmerged
from sim.collection.recording import demo_path
from sim.libero import benchmark
from tests.demos.examples import make_episode

ROOT = Path(__file__).parents[3]
TASK = benchmark.task("libero_object", 1)
HEADER = DemoHeader(
    language=TASK.language,
    problem_name="libero_floor_manipulation",
    bddl_file_name=f"libero_object/{TASK.bddl_file.name}",
    bddl_file_content="(define ...)",
    env_kwargs={"robots": ["Panda"], "assets_digest": "0123"},
)


def path_in(out: Path) -> Path:
    return demo_path(out, TASK.suite, TASK)


def collected(out: Path, episodes: int) -> None:
    """So many episodes, each in a file of its own as a worker leaves them."""
    writer = DemoWriter(path_in(out), HEADER)
    for seed in range(episodes):
        writer.append(make_episode(seed=seed))


def test_episodes_are_merged_under_the_header_that_they_have(tmp_path: Path):
    collected(tmp_path, 2)
    merge(path_in(tmp_path))
    with DemoReader(path_in(tmp_path)) as reader:
        assert len(reader) == 2
        assert {name: reader.attributes[name] for name in HEADER.attributes()} == HEADER.attributes()
    assert not unmerged(path_in(tmp_path)).exists()
    merge(path_in(tmp_path))  # again, with nothing left to do


def test_an_episode_that_was_cut_off_leaves_nothing(tmp_path: Path):
    unmerged(path_in(tmp_path)).mkdir(parents=True)
    (unmerged(path_in(tmp_path)) / ".demo_0.hdf5.tmp").write_bytes(b"half")
    (unmerged(path_in(tmp_path)) / ".lock").touch()
    merge(path_in(tmp_path))
    assert not unmerged(path_in(tmp_path)).exists()


def test_what_is_merged_must_fit_twice_and_stays_if_it_does_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    collected(tmp_path, 2)
    free = type("Usage", (), {"free": 1000})
    monkeypatch.setattr("shutil.disk_usage", lambda _: free)
    with pytest.raises(OSError, match="No space left on device"):
        merge(path_in(tmp_path))
    assert len(list(unmerged(path_in(tmp_path)).glob("demo_*.hdf5"))) == 2


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_collection_merges_what_it_has_and_leaks_nothing(
    tmp_path: Path, libero_assets: Path, number: signal.Signals
):
    collected(tmp_path, 2)
    command = [
        "--suite",
        "libero_object",
        "--tasks",
        "1",
        "--workers",
        "2",
        "--out",
        tmp_path,
        "--assets",
        libero_assets,
    ]
    process = subprocess.Popen(
        [sys.executable, "-m", "sim.collect", *map(str, command)],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    while len(children.read_text().split()) < 3:  # the workers, and the process that watches over semaphores
        time.sleep(0.05)
    process.send_signal(number)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said.splitlines()[1:] == [
        "interrupted; merging what was made (the same command goes on from there)",
        "interrupted",
    ]
    with DemoReader(path_in(tmp_path)) as reader:
        assert len(reader) == 2
    assert not unmerged(path_in(tmp_path)).exists()
