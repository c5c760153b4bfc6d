"""The LIBERO benchmark as data."""

import os
import pickle
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

from common.errors import UserError
from sim.libero import assets, benchmark
from sim.suites import SUITES


def test_the_suites_have_all_130_tasks_with_instructions_and_goal_files():
    tasks = [task for suite in SUITES for task in benchmark.tasks(suite)]
    assert len(tasks) == 130
    assert all(task.bddl_file.is_file() for task in tasks)
    assert benchmark.task("libero_10", 5).language == (
        "pick up the book and place it in the back compartment of the caddy"
    )


def test_instructions_lose_their_scene_prefix():
    assert benchmark.language_of("KITCHEN_SCENE10_close_the_drawer") == "close the drawer"
    assert benchmark.language_of("push_the_plate") == "push the plate"


@pytest.mark.parametrize(
    ("suite", "index", "message"), [("libero_11", 0, "the suites are"), ("libero_10", 10, "0 to 9")]
)
def test_an_unknown_suite_or_task_names_the_valid_ones(suite: str, index: int, message: str):
    with pytest.raises(UserError, match=message):
        benchmark.task(suite, index)


def test_init_states_are_fifty_states_of_numbers():
    states = benchmark.init_states(benchmark.task("libero_10", 0))
    assert states.shape[0] == 50
    assert states.dtype == np.float64
    assert np.isfinite(states).all()


def test_an_init_file_that_would_run_code_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    class Bomb:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "exploded",))

    folder = tmp_path / "init_files" / "libero_10"
    folder.mkdir(parents=True)
    task = benchmark.task("libero_10", 0)
    (folder / f"{task.name}.pruned_init").write_bytes(pickle.dumps(Bomb()))
    monkeypatch.setattr(benchmark, "package_folder", lambda: tmp_path)
    with pytest.raises(UserError, match="cannot read the initial states"):
        benchmark.init_states(task)
    assert not (tmp_path / "exploded").exists()


def test_assets_that_are_named_must_be_there(tmp_path: Path):
    with pytest.raises(assets.AssetsMissing, match="is not a folder of LIBERO assets"):
        assets.resolve(tmp_path)


def test_the_digest_of_assets_depends_on_their_content(tmp_path: Path):
    for name in assets.REQUIRED:
        (tmp_path / name).mkdir()
    (tmp_path / "scenes" / "a.xml").write_text("<mujoco/>")
    first = assets.resolve(tmp_path).digest
    (tmp_path / "scenes" / "a.xml").write_text("<mujoco />")
    assert assets.resolve(tmp_path).digest != first


def test_the_cache_belongs_to_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("AMPLIFY_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert benchmark.cache_folder() == tmp_path / ".cache" / "amplify"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert benchmark.cache_folder() == tmp_path / "xdg" / "amplify"
    monkeypatch.setenv("AMPLIFY_CACHE", str(tmp_path / "mine"))
    assert benchmark.cache_folder() == tmp_path / "mine"


def test_a_cache_that_cannot_be_written_is_named_with_the_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("AMPLIFY_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(UserError, match=r"cannot write .*file/cache.*AMPLIFY_CACHE"):
        benchmark.use_assets(tmp_path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become somebody else")
def test_a_cache_that_is_complete_need_not_be_writable():
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        code = f"from pathlib import Path; from sim.libero import benchmark; benchmark.use_assets(Path({folder!r}))"
        command = [sys.executable, "-c", code]
        subprocess.run(command, env=os.environ | {"AMPLIFY_CACHE": f"{folder}/cache"}, check=True)
        reading = ["--inh-caps=-all,+dac_read_search", "--ambient-caps=-all,+dac_read_search"]  # Python may be root's
        other = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *reading]
        subprocess.run([*other, *command], env=os.environ | {"AMPLIFY_CACHE": f"{folder}/cache"}, check=True)


def test_loading_libero_writes_no_log_file(tmp_path: Path):
    """robosuite's has the same name for everybody, so that a second user of a machine may not write it."""
    code = (
        "import sys; opened = []\n"
        "sys.addaudithook(lambda event, args: opened.append(str(args[0])) if event == 'open' else None)\n"
        "from pathlib import Path; from sim.libero import benchmark\n"
        f"benchmark.use_assets(Path({str(tmp_path)!r}))\n"
        "import robosuite; assert robosuite.__version__\n"
        "print([path for path in opened if path.endswith('.log')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().splitlines()[-1] == "[]"
    assert "macro" not in done.stderr
