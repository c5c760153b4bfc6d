"""What machines and software are called."""

import subprocess
from pathlib import Path

from sim.machine import description


def git(folder: Path, *words: str) -> str:
    identity = ["-c", "user.name=somebody", "-c", "user.email=somebody@example.org"]
    command = ["git", "-C", str(folder), *identity, *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_a_checkout_has_a_commit_and_says_when_files_differ_from_it(tmp_path: Path):
    git(tmp_path, "init", "-q")
    (tmp_path / "code.py").write_text("1")
    git(tmp_path, "add", "code.py")
    git(tmp_path, "commit", "-qm", "first")
    git(tmp_path, "tag", "v1")
    head = git(tmp_path, "rev-parse", "HEAD")
    assert description.commit(tmp_path) == head
    (tmp_path / "code.py").write_text("2")
    assert description.commit(tmp_path) == f"{head}-dirty"


def test_outside_a_checkout_there_is_no_commit(tmp_path: Path):
    assert description.commit(tmp_path) is None
    (tmp_path / ".git").write_text("gitdir: /no/such/place\n")
    assert description.commit(tmp_path) is None


def test_the_processor_is_counted_and_named(tmp_path: Path):
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/cpuinfo").write_text("processor\t: 0\nmodel name\t: A Fine One\n\n" * 2)
    assert description.cpu(tmp_path) == "2 x A Fine One"
    assert description.cpu(tmp_path / "nowhere")


def test_gpus_are_those_of_the_kernels_driver(tmp_path: Path):
    assert description.gpus(tmp_path) == []
    for bus, name in (("0000:01:00.0", "First"), ("0000:02:00.0", "Second")):
        folder = tmp_path / "proc/driver/nvidia/gpus" / bus
        folder.mkdir(parents=True)
        (folder / "information").write_text(f"Model: \t\t {name}\nIRQ:   \t\t 93\n")
    assert description.gpus(tmp_path) == ["First", "Second"]


def test_versions_name_what_can_change_a_score():
    assert {"python", "amplify-deploy", "mujoco", "robosuite", "numpy", "torch"} <= description.versions().keys()
