"""The LIBERO benchmark as data: suites, tasks, step limits and shipped initial states.

LIBERO asks questions on standard input when it is first imported and unpickles its initial states. Neither happens
here: its configuration is written to our cache folder before the first import, and initial states are read with an
unpickler that knows nothing but numpy arrays.
"""

import hashlib
import importlib.util
import os
import runpy
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import yaml

from common.errors import UserError
from common.files import locked, nearest_existing, replacing
from demos.language import language_of
from sim.suites import SUITES


class LiberoMissing(UserError):
    """LIBERO is not installed."""


@dataclass(frozen=True)
class Task:
    """One LIBERO task. ``index`` is its place in the suite; ``name`` the stem of its BDDL and demonstration files."""

    suite: str
    index: int
    name: str
    language: str
    bddl_file: Path


def cache_folder() -> Path:
    """Where built assets, LIBERO's configuration and the place of the download live, for each user by itself.

    ``AMPLIFY_CACHE``, else ``amplify`` in ``XDG_CACHE_HOME`` or ``~/.cache``.

    Raises:
        UserError: this user has no home.
    """
    if named := os.environ.get("AMPLIFY_CACHE"):
        return Path(named)
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "amplify"
    except RuntimeError:
        raise UserError("this user has no home to keep a cache in; name a folder with AMPLIFY_CACHE") from None


@cache
def package_folder() -> Path:
    """The folder of the installed ``libero.libero`` package, found without importing it.

    Raises:
        LiberoMissing: LIBERO is not installed.
    """
    spec = importlib.util.find_spec("libero")
    for location in (spec.submodule_search_locations or []) if spec else []:
        if (Path(location) / "libero" / "bddl_files").is_dir():
            return Path(location) / "libero"
    raise LiberoMissing("LIBERO is not installed; run 'make eval', or 'pip install --no-deps hf-libero==0.1.4'")


@cache
def tasks(suite: str) -> tuple[Task, ...]:
    """The tasks of a suite in LIBERO's own order.

    Raises:
        UserError: there is no such suite.
    """
    if suite not in SUITES:
        raise UserError(f"unknown suite {suite!r}; the suites are {', '.join(SUITES)}")
    folder = package_folder()
    names = runpy.run_path(str(folder / "benchmark" / "libero_suite_task_map.py"))["libero_task_map"][suite]
    return tuple(
        Task(suite, index, name, language_of(name), folder / "bddl_files" / suite / f"{name}.bddl")
        for index, name in enumerate(names)
    )


def task(suite: str, index: int) -> Task:
    """One task by its index.

    Raises:
        UserError: there is no such suite or task.
    """
    known = tasks(suite)
    if not 0 <= index < len(known):
        raise UserError(f"unknown task {index} of {suite}; it has tasks 0 to {len(known) - 1}")
    return known[index]


def init_states(of: Task) -> np.ndarray:
    """The task's shipped initial states, ``(50, state)`` float64: time, joint positions, joint velocities.

    Raises:
        UserError: the file is missing, damaged, or holds anything but one array of numbers.
    """
    import torch
    from numpy._core.multiarray import _reconstruct

    path = package_folder() / "init_files" / of.suite / f"{of.name}.pruned_init"
    allowed: list[Any] = [
        (_reconstruct, "numpy.core.multiarray._reconstruct"),
        np.ndarray,
        np.dtype,
        np.dtypes.Float64DType,
    ]
    try:
        with torch.serialization.safe_globals(allowed):
            states = torch.load(path, weights_only=True)
    except FileNotFoundError:
        raise UserError(f"no initial states at {path}; reinstall LIBERO (pip install --no-deps hf-libero)") from None
    except Exception as error:
        raise UserError(f"cannot read the initial states in {path}: {str(error).splitlines()[0]}") from error
    return np.asarray(states, dtype=np.float64)


def use_assets(folder: Path) -> ModuleType:
    """Import LIBERO's environments without a prompt and let them load their models from ``folder``.

    Returns:
        The module ``libero.libero.envs``.

    Raises:
        UserError: our cache cannot be written.
    """
    package = package_folder()
    text = yaml.safe_dump(
        {
            "benchmark_root": str(package),
            "bddl_files": str(package / "bddl_files"),
            "init_states": str(package / "init_files"),
            "datasets": str(cache_folder() / "datasets"),
            "assets": str(folder),
        }
    )
    # Named by its content: processes with other assets have another one, and what is there need not be writable.
    config = cache_folder() / "libero" / hashlib.sha256(text.encode()).hexdigest()[:16]
    if not (config / "config.yaml").exists():
        try:
            with locked(config / ".lock"), replacing(config / "config.yaml") as temporary:
                temporary.write_text(text)
        except OSError as error:
            raise UserError(
                f"cannot write LIBERO's configuration into {config} ({error.strerror}); name a folder of yours with "
                "AMPLIFY_CACHE"
            ) from error
    os.environ["LIBERO_CONFIG_PATH"] = str(config)
    _quiet_robosuite()

    import libero.libero

    libero.libero._assets_path_cache = str(folder)
    import libero.libero.envs

    return libero.libero.envs


def _quiet_robosuite() -> None:
    """Load robosuite's settings before robosuite, without its log file and without warnings that nobody needs.

    The file has the same name for everybody: whoever comes second on a shared machine may not write it, and the
    import would fail.
    """
    spec = importlib.util.find_spec("robosuite")
    if "robosuite.macros" in sys.modules or spec is None or not spec.submodule_search_locations:
        return
    file = Path(spec.submodule_search_locations[0]) / "macros.py"
    settings = importlib.util.spec_from_file_location("robosuite.macros", file)
    assert settings is not None
    assert settings.loader is not None
    macros = importlib.util.module_from_spec(settings)
    settings.loader.exec_module(macros)
    macros.FILE_LOGGING_LEVEL, macros.CONSOLE_LOGGING_LEVEL = None, "ERROR"  # type: ignore[attr-defined]
    # numba refuses to compile for a cache that it cannot write, and looks for one in the user's home.
    if not os.access(os.path.expanduser("~"), os.W_OK):
        if os.access(nearest_existing(cache_folder()), os.W_OK):
            os.environ.setdefault("NUMBA_CACHE_DIR", str(cache_folder() / "numba"))
        else:
            macros.CACHE_NUMBA = False  # type: ignore[attr-defined]
    sys.modules["robosuite.macros"] = macros
