"""Machines that lack something, as mount namespaces in which a command runs; without root their tests are skipped."""

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import pytest


@cache
def _may_mount() -> bool:
    try:
        return subprocess.run(["unshare", "-m", "mount", "-t", "tmpfs", "tmpfs", "/mnt"], check=False).returncode == 0
    except OSError:
        return False


def run_after(preparation: str, command: Sequence[str | Path], **environment: str) -> subprocess.CompletedProcess[str]:
    """Run ``python -m COMMAND`` where the shell's ``preparation`` (mounts) holds, for this command alone."""
    if not _may_mount():
        pytest.skip("only root may mount")
    words = shlex.join([sys.executable, "-m", *map(str, command)])
    root = Path(__file__).parents[1]
    return subprocess.run(
        ["unshare", "-m", "sh", "-e", "-c", f"{preparation}\n{words}"],
        cwd=root, env=os.environ | {"PYTHONPATH": str(root)} | environment,
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip


def without_egl() -> str:
    """The preparation that hides every EGL library."""
    places = f"{os.environ['PATH']}:/usr/sbin:/sbin"  # not every user's PATH has them
    ldconfig = shutil.which("ldconfig", path=places)
    if ldconfig is None:
        pytest.skip("there is no ldconfig to say where the GL libraries are")
    listed = subprocess.run([ldconfig, "-p"], capture_output=True, text=True, check=False).stdout
    libraries = {Path(line.split("=>")[1].strip()).resolve() for line in listed.splitlines() if "libEGL.so" in line}
    return "\n".join(f"mount --bind /dev/null {library}" for library in sorted(libraries))


def small_disk(folder: Path, size: str) -> str:
    """The preparation that puts a disk of ``size`` at ``folder``; what is written there is gone afterwards."""
    folder.mkdir(exist_ok=True)
    return f"mount -t tmpfs -o size={size} tmpfs {shlex.quote(str(folder))}"
