"""README and docs name only files, commands and Python names that exist, messages only commands that exist."""

import importlib
import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted(ROOT.glob("*/README.md"))]
PACKAGES = "common|demos|training|tokenizer|policy|sim|robot_bridge|benchmarks|tests|docs|scripts"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_names_only_what_exists(page: Path):
    text = page.read_text()
    files = re.findall(rf"`((?:{PACKAGES})/[\w./-]*)`", text)
    links = [link for link in re.findall(r"\]\(([^)#]+)[^)]*\)", text) if "://" not in link]
    commands = re.findall(rf"python -m ((?:{PACKAGES})[\w.]*)", text)
    assert [file for file in files if not (ROOT / file).exists()] == []
    assert [link for link in links if not (page.parent / link).exists()] == []
    assert [command for command in commands if importlib.util.find_spec(command) is None] == []


@pytest.mark.parametrize("package", sorted({*PACKAGES.split("|")} - {"tests"}))
def test_help_and_messages_name_only_commands_that_exist(package: str):
    named = {
        command: file
        for file in (ROOT / package).rglob("*.py")
        for command in re.findall(rf"python -m ((?:{PACKAGES})[\w.]*\w)", file.read_text())
    }
    assert {command: file for command, file in named.items() if importlib.util.find_spec(command) is None} == {}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_imports_of_examples_succeed(page: Path):
    for module, names in re.findall(rf"^from ((?:{PACKAGES})[\w.]*) import ([\w, ]+)$", page.read_text(), re.MULTILINE):
        imported = importlib.import_module(module)
        assert [name for name in names.split(", ") if not hasattr(imported, name)] == []
