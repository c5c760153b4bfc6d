"""The packages keep to themselves: who may import whom, and what a robot workstation never has to install."""

import ast
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
