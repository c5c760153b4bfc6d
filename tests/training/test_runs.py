"""Runs do not overwrite each other, and the latest of a name is found again."""

from pathlib import Path

import pytest
import yaml

from common.errors import UserError
from training import runs


def start(root: Path, name: str) -> Path:
    folder = runs.claim(root, name)
    (folder / "config.yaml").write_text(yaml.safe_dump({"run_name": name}))
    return folder


def test_a_name_that_is_taken_gets_a_number(tmp_path: Path) -> None:
    assert [start(tmp_path, "mine").name for _ in range(3)] == ["mine", "mine_1", "mine_2"]
    assert runs.latest(tmp_path, "mine").name == "mine_2"


def test_the_tenth_run_is_later_than_the_second(tmp_path: Path) -> None:
    for _ in range(11):
        start(tmp_path, "mine")
    assert runs.latest(tmp_path, "mine").name == "mine_10"


def test_a_run_that_is_only_called_similarly_is_another(tmp_path: Path) -> None:
    for name in ("libero", "libero_10", "liberty"):
        start(tmp_path, name)
    assert runs.latest(tmp_path, "libero").name == "libero"
    assert runs.latest(tmp_path, "libero_10").name == "libero_10"
    assert start(tmp_path, "libero_10").name == "libero_10_1"


def test_without_a_run_there_is_nothing_to_resume(tmp_path: Path) -> None:
    start(tmp_path, "mine_too")
    with pytest.raises(UserError, match=r"no run to resume at .*mine; start it without resume=true"):
        runs.latest(tmp_path, "mine")
