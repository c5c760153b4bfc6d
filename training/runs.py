"""Folders of training runs: a name that is taken gets a number, and the latest run of a name can be found again."""

import re
from pathlib import Path

import yaml

from common.errors import UserError


def claim(runs: Path, name: str) -> Path:
    """Makes the folder of a new run: ``name``, or ``name_1``, ``name_2`` and so on where that is taken."""
    number = 0
    while True:
        folder = runs / (f"{name}_{number}" if number else name)
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            number += 1
        else:
            return folder


def latest(runs: Path, name: str) -> Path:
    """The folder of the latest run that was started as ``name``; a run named ``name_10`` by somebody is none of them.

    Raises:
        UserError: there is no such run.
    """
    numbers = {}
    for folder in runs.glob(f"{name}*"):
        match = re.fullmatch(rf"{re.escape(name)}(?:_(\d+))?", folder.name)
        if match and _started_as(folder) in (name, None):
            numbers[int(match[1] or 0)] = folder
    if not numbers:
        raise UserError(f"there is no run to resume at {runs / name}; start it without resume=true")
    return numbers[max(numbers)]


def _started_as(folder: Path) -> str | None:
    """The name that the run was given; None where it does not say."""
    try:
        return yaml.safe_load((folder / "config.yaml").read_text())["run_name"]
    except (OSError, yaml.YAMLError, KeyError, TypeError):
        return None
