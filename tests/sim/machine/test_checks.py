"""Whether a machine is fit for simulation."""

import tomllib
from pathlib import Path

import pytest

from sim.machine import checks

ROOT = Path(__file__).parents[3]


def machine(root: Path, available_kb: int, control_groups: dict[str, str] | None = None) -> Path:
    """Files of the kernel that say how much memory there is; control groups by their file's name."""
    (root / "proc").mkdir()
    (root / "proc" / "meminfo").write_text(f"MemTotal: 64000000 kB\nMemAvailable: {available_kb} kB\n")
    for name, text in (control_groups or {}).items():
        path = root / "sys/fs/cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_memory_is_what_the_machine_has_left(tmp_path: Path):
    assert checks.available_memory(machine(tmp_path, 4_000_000)) == pytest.approx(4.096)


def test_a_container_has_what_its_limit_leaves(tmp_path: Path):
    groups = {"memory.max": "2000000000", "memory.current": "900000000", "memory.stat": "inactive_file 100000000"}
    assert checks.available_memory(machine(tmp_path, 4_000_000, groups)) == pytest.approx(1.2)


def test_a_container_without_a_limit_has_all_of_it(tmp_path: Path):
    groups = {"memory.max": "max", "memory.current": "900000000", "memory.stat": "inactive_file 1"}
    assert checks.available_memory(machine(tmp_path, 4_000_000, groups)) == pytest.approx(4.096)


def test_control_groups_of_version_1_are_read_too(tmp_path: Path):
    groups = {
        "memory/memory.limit_in_bytes": "1000000000",
        "memory/memory.usage_in_bytes": "400000000",
        "memory/memory.stat": "cache 7\ntotal_inactive_file 100000000",
    }
    assert checks.available_memory(machine(tmp_path, 4_000_000, groups)) == pytest.approx(0.7)


def test_too_many_workers_are_told_how_many_fit(tmp_path: Path):
    root = machine(tmp_path, 4_000_000)
    assert checks.memory(4, root).mend == ""
    assert checks.memory(5, root).mend == "use --workers 4"
    assert "5 workers need up to 4.5 GB" in str(checks.memory(5, root))


def test_a_machine_that_does_not_say_is_not_blamed(tmp_path: Path):
    assert checks.memory(400, tmp_path).mend == ""


def test_a_folder_that_cannot_be_written_or_is_full_comes_with_the_way_out(tmp_path: Path):
    assert checks.folder("disk", tmp_path / "new", "name another --out").mend == ""
    (tmp_path / "file").write_text("")
    finding = checks.folder("disk", tmp_path / "file" / "new", "name another --out")
    assert str(finding).startswith(f"disk: cannot write into {tmp_path}/file/new (Not a directory); name another --out")
    assert "about 1000000.0 GB are needed" in checks.folder("disk", tmp_path, "make room", needed=1e6).state


def test_the_pinned_versions_are_those_that_are_installed_by_us():
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["sim"]
    wanted += (ROOT / "requirements-libero.txt").read_text().splitlines()
    assert {f"{package}=={version}" for package, version in checks.PINNED.items()} <= set(wanted)
    assert checks.versions().mend == ""


def test_another_version_is_named_with_the_command_that_mends_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(checks.PINNED, "mujoco", "2.9.9")
    assert checks.versions().mend == "pip install --no-deps mujoco==2.9.9"
    assert "success rates depend on them" in checks.versions().state


def test_a_device_that_torch_lacks_is_named():
    assert checks.device("cpu").mend == ""
    finding = checks.device("cuda:9")
    assert "cannot compute on the device 'cuda:9'" in finding.state
    assert "use cpu" in finding.mend
