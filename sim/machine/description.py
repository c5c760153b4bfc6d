"""What a machine and the software on it are called: kept with results, so that they can be told apart later."""

import importlib.metadata
import platform
import subprocess
from pathlib import Path

PACKAGES = ("amplify-deploy", "mujoco", "robosuite", "hf-libero", "libero", "bddl", "gymnasium", "numpy", "torch")
HERE = Path(__file__).parents[2]
"""The folder of the source code."""


def versions() -> dict[str, str]:
    """Versions of Python, of this software and of the packages that can change a score."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def commit(folder: Path = HERE) -> str | None:
    """The git commit of the source code, with ``-dirty`` where files differ from it; None outside a checkout."""
    if not (folder / ".git").exists():
        return None
    try:
        said = subprocess.run(
            ["git", "-C", str(folder), "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty"],
            capture_output=True, text=True, timeout=10, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):  # no git, or a checkout of somebody else
        return None
    return said.stdout.strip() or None


def in_words() -> str:
    """What is installed, for ``--version``."""
    found = versions()
    ours = f"amplify-deploy {found.pop('amplify-deploy', 'not installed')}"
    if (head := commit()) is not None:
        ours += f", commit {head}"
    return f"{ours}\n{', '.join(f'{package} {version}' for package, version in found.items())}"


def cpu(root: Path = Path("/")) -> str:
    """The processor's name and how many of it there are."""
    try:
        lines = [line.partition(":") for line in (root / "proc/cpuinfo").read_text().splitlines()]
    except OSError:
        lines = []
    names = [value.strip() for key, _, value in lines if key.strip() == "model name"]
    return f"{len(names)} x {names[0]}" if names else platform.machine()


def gpus(root: Path = Path("/")) -> list[str]:
    """Names of the NVIDIA GPUs that the kernel's driver knows."""
    found = []
    for file in sorted((root / "proc/driver/nvidia/gpus").glob("*/information")):
        for key, _, value in (line.partition(":") for line in file.read_text().splitlines()):
            if key.strip() == "Model":
                found.append(value.strip())
    return found
