"""Whether a machine is fit for simulation: space, memory, versions, device; what is wrong, and how to mend it."""

import importlib.metadata
import shutil
from dataclasses import dataclass
from pathlib import Path

from common.errors import UserError
from common.files import check_writable, nearest_existing
from common.gl import RenderingUnavailable
from sim.libero import benchmark
from sim.machine import gl_driver
from sim.machine.description import gpus
from sim.machine.gl_driver import Driver

PINNED = {"mujoco": "3.3.2", "robosuite": "1.4.0", "bddl": "1.0.1"}
"""The versions that scores are known for."""
WORKER_MEMORY = 0.9
"""What a worker needs in the largest scenes, software rendering included (GB, measured)."""
ROOM = 0.2
"""Free space below which a disk counts as full (GB)."""


@dataclass(frozen=True)
class Finding:
    """What a check found out about one subject; ``mend`` says what to do, and is empty where all is well."""

    subject: str
    state: str
    mend: str = ""

    @classmethod
    def of(cls, subject: str, error: UserError) -> "Finding":
        """From an error, which says what is wrong and, after a semicolon, how to mend it."""
        state, _, mend = str(error).partition("; ")
        return cls(subject, state, mend or "see README.md")

    def __str__(self) -> str:
        return f"{self.subject}: {self.state}" + (f"; {self.mend}" if self.mend else "")


def shortcomings(driver: Driver, out: Path, needed: float, workers: int) -> list[Finding]:
    """What is wrong, if anything, with the machine for ``workers`` that write ``needed`` (GB) below ``out``."""
    findings = [
        driver_in_use(driver),
        folder("disk", out, "make room, or name another --out", needed),
        cache(),
        memory(workers),
        versions(),
    ]
    return [finding for finding in findings if finding.mend]


def rendering() -> Finding:
    """Whether MuJoCo renders, and with what."""
    try:
        return driver_in_use(gl_driver.probe())
    except RenderingUnavailable as error:
        return Finding.of("rendering", error)


def driver_in_use(driver: Driver) -> Finding:
    """Whether a driver that works is the one that the machine could have."""
    if driver.in_software and (cards := gpus()):
        return Finding(
            "rendering",
            f"{driver}, in software although there is {cards[0]}",
            "install the driver's EGL (libnvidia-gl; in a container NVIDIA_DRIVER_CAPABILITIES=graphics)",
        )
    return Finding("rendering", str(driver) + (", in software" if driver.in_software else ""))


def folder(subject: str, path: Path, mend: str, needed: float = 0.0) -> Finding:
    """Whether ``path`` can be written and has room.

    Args:
        mend: what to do if not.
        needed: what will be written (GB).
    """
    try:
        check_writable(path)
    except OSError as error:
        return Finding(subject, f"cannot write into {path} ({error.strerror})", mend)
    free = shutil.disk_usage(nearest_existing(path)).free / 1e9
    wanted = max(needed, ROOM)
    if free < wanted:
        return Finding(subject, f"{path} has {free:.1f} GB left, about {wanted:.1f} GB are needed", mend)
    return Finding(subject, f"{path} has {free:.0f} GB left")


def cache() -> Finding:
    """Whether our cache can be written."""
    return folder("cache", benchmark.cache_folder(), "make room, or name another with AMPLIFY_CACHE")


def memory(workers: int, root: Path = Path("/")) -> Finding:
    """Whether ``workers`` processes fit into what is free; ``root`` is where ``proc`` and ``sys`` are."""
    free, wanted = available_memory(root), workers * WORKER_MEMORY
    if free is None:
        return Finding("memory", "not known")
    state = f"{free:.1f} GB free, {workers} workers need up to {wanted:.1f} GB"
    return Finding("memory", state, "" if wanted <= free else f"use --workers {max(1, int(free / WORKER_MEMORY))}")


def available_memory(root: Path = Path("/")) -> float | None:
    """Memory that programs can still take (GB): the machine's, or what a container's limit leaves of it."""
    try:
        lines = (root / "proc/meminfo").read_text().splitlines()
        free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        return None
    return min([free, *_left_by_control_groups(root / "sys/fs/cgroup")]) / 1e9


def _left_by_control_groups(groups: Path) -> list[int]:
    """What the limits of a container leave (bytes), in version 2 and version 1 of control groups."""
    left = []
    for folder, limit, used, cached in (
        (groups, "memory.max", "memory.current", "inactive_file"),
        (groups / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ):
        try:
            statistics = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
            reclaimable = int(statistics[cached])
            left.append(int((folder / limit).read_text()) - int((folder / used).read_text()) + reclaimable)
        except (OSError, ValueError, KeyError):  # another version, or no limit ("max")
            continue
    return left


def versions() -> Finding:
    """Whether the packages that decide scores are those that scores are known for."""
    installed = {}
    for package in PINNED:
        try:
            installed[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            installed[package] = "missing"
    state = ", ".join(f"{package} {version}" for package, version in installed.items())
    others = [f"{package}=={version}" for package, version in PINNED.items() if installed[package] != version]
    if not others:
        return Finding("versions", state)
    return Finding("versions", f"{state}: success rates depend on them", f"pip install --no-deps {' '.join(others)}")


def device(name: str | None) -> Finding:
    """Whether the policy can compute on the device ``name``, by default on the best one there is."""
    import torch

    from policy.load import usable_device

    try:
        chosen = usable_device(name)
    except UserError as error:
        return Finding.of("device", error)
    if chosen == "cpu" and name is None and (cards := gpus()):
        return Finding(
            "device",
            f"the policy computes on the processor although there is {cards[0]} (torch {torch.__version__})",
            "install torch with CUDA, and a driver for it",
        )
    return Finding("device", chosen)
