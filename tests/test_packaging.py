"""The packages keep to themselves: who may import whom, and what a robot workstation never has to install."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ORDER = [{"common"}, {"demos"}, {"training"}, {"tokenizer"}, {"policy"}, {"sim", "robot_bridge"}]
"""Each may import those before it."""
PACKAGES = set().union(*ORDER)
MAY_IMPORT = {package: set().union(*ORDER[:place]) for place, group in enumerate(ORDER) for package in group}


def imported_packages(file: Path) -> set[str]:
    """Top-level names that a file imports anywhere, also inside functions."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text(), filename=str(file))):
        if isinstance(node, ast.Import):
            names.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.add((node.module or "").partition(".")[0])
    return names


@pytest.mark.parametrize("package", sorted(PACKAGES))
def test_imports_point_one_way(package: str):
    foreign = PACKAGES - MAY_IMPORT[package] - {package}
    for file in sorted((ROOT / package).rglob("*.py")):
        assert not imported_packages(file) & foreign, f"{file.relative_to(ROOT)} imports against the direction"


@pytest.mark.parametrize("package", sorted(PACKAGES))
def test_importing_a_package_loads_nothing_heavy(package: str):
    if not (ROOT / package / "__init__.py").exists():
        pytest.skip(f"{package} has no code yet")
    heavy = ("torch", "mujoco", "robosuite", "libero", "onnxruntime", "cv2")
    program = f"import sys, {package}; print([name for name in {heavy!r} if name in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "[]"


@pytest.mark.parametrize("page", ["README.md", "docs/evaluation.md", "Dockerfile"])
def test_results_and_downloads_of_a_container_outlive_it(page: str):
    """Whatever ``docker run --rm`` writes to its working folder's results and to its home is mounted from outside."""
    dockerfile = (ROOT / "Dockerfile").read_text()
    (folder,) = re.findall(r"^WORKDIR (\S+)$", dockerfile, re.MULTILINE)
    (home,) = re.findall(r"^ENV HOME=(\S+)$", dockerfile, re.MULTILINE)
    text = re.sub(r"\s*\\\s*(#\s*)?", " ", (ROOT / page).read_text())
    commands = [line for line in re.findall(r"docker run (.*)", text) if "--episodes" in line]
    assert commands
    for command in commands:
        mounted = re.findall(r'-v "?([^:]+):([^":\s]+)', command)
        assert {place for _, place in mounted} == {f"{folder}/results", home}
