"""The procedural pack: complete, small, the same every time, and LIBERO's tasks stand in it as in the published one."""

import re
from pathlib import Path

import numpy as np
import pytest

from sim import libero
from sim.env import LiberoEnv
from sim.procedural import build
from sim.procedural.pack import digest, models, write
from sim.procedural.scenes import scenes

SAMPLE = (("libero_goal", 2), ("libero_10", 9), ("libero_object", 4))
STARTS = (0, 25)
SETTLE_STEPS = 20
NEAR, ALIGNED = 0.02, np.deg2rad(10.0)
"""How far an object of interest may settle from where the published assets leave it (m, rad)."""
TUMBLING = {
    ("libero_spatial", 5): "the bowl falls 11 cm onto the ramekin and stays tilted in its mouth by 16 degrees",
    ("libero_90", 26): "the wine bottle falls over from some states",
}
"""Tasks in which the published models themselves slide or turn further than that, and chance decides where to."""
TABLES = {"table", "floor", "kitchen_table", "living_room_table", "study_table"}


@pytest.fixture(scope="session")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("packs"))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_two_builds_are_the_same_bytes_and_small(pack: Path, tmp_path: Path):
    write(tmp_path)
    assert contents(tmp_path) == contents(pack)
    assert sum(map(len, contents(pack).values())) < 10e6


def test_a_pack_is_built_once_and_named_by_its_sources(pack: Path):
    (pack / "mark").touch()
    assert build(pack.parent) == pack
    assert (pack / "mark").exists()
    (pack / "mark").unlink()
    assert pack.name == digest()


def test_a_failed_build_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def fail(folder: Path) -> None:
        (folder / "half").touch()
        raise OSError("disk full")

    monkeypatch.setattr("sim.procedural.pack.write", fail)
    with pytest.raises(OSError, match="disk full"):
        build(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_pack_has_every_object_fixture_and_scene_that_the_tasks_use(pack: Path):
    wanted = set()
    for suite in libero.SUITES:
        for task in libero.tasks(suite):
            text = task.bddl_file.read_text()
            for section in re.findall(r"\(:(?:fixtures|objects)(.*?)\)", text, re.DOTALL):
                wanted |= set(re.findall(r" - (\w+)", section))
    assert wanted - TABLES <= {model.name for model in models()}
    assert len(scenes()) == 5
    files = contents(pack)
    named = re.findall(rb'file="[./]*textures/([\w.-]+)"', b"".join(files[f] for f in files if f.endswith(".xml")))
    assert {f"textures/{name.decode()}" for name in named} <= set(files)


Poses = dict[str, tuple[np.ndarray, np.ndarray]]


def started_and_settled(suite: str, task: int, start: int, assets: Path) -> tuple[Poses, Poses]:
    """Position and unit quaternion of every object of interest in a shipped init state and after the settle steps."""
    env = LiberoEnv(suite, task, assets=assets)
    env.restart(seed=0, init_state=start)
    bodies = {name: body for name, body in env.problem.obj_body_id.items() if name in env.problem.obj_of_interest}

    def poses() -> Poses:
        return {name: (env.data.xpos[body].copy(), env.data.xquat[body].copy()) for name, body in bodies.items()}

    before = poses()
    for _ in range(SETTLE_STEPS):
        env.advance(np.array([0, 0, 0, 0, 0, 0, -1.0]))
    after = poses()
    env.close()
    return before, after


def angle_between(p: np.ndarray, q: np.ndarray) -> float:
    return 2 * float(np.arccos(min(1.0, abs(float(p @ q)))))


@pytest.mark.parametrize(("suite", "task"), SAMPLE)
def test_a_task_stands_still_in_the_pack(pack: Path, suite: str, task: int):
    states = libero.init_states(libero.task(suite, task))
    env = LiberoEnv(suite, task, assets=pack)
    for start in (0, len(states) - 1):
        env.restart(seed=0, init_state=start)
        assert env.state().shape == states[start].shape
        for _ in range(SETTLE_STEPS):
            env.advance(np.array([0, 0, 0, 0, 0, 0, -1.0]))
        resting = env.data.qpos.copy()
        for _ in range(SETTLE_STEPS):
            env.advance(np.array([0, 0, 0, 0, 0, 0, -1.0]))
        assert np.abs(env.data.qpos - resting).max() < 0.005
    env.close()


def check_settles_alike(suite: str, task: int, start: int, pack: Path, published: Path) -> None:
    _, ours = started_and_settled(suite, task, start, pack)
    before, theirs = started_and_settled(suite, task, start, published)
    assert ours.keys() == theirs.keys()
    for name, (position, quat) in theirs.items():
        slid = float(np.linalg.norm((position - before[name][0])[:2]))
        if (slid > NEAR or angle_between(quat, before[name][1]) > ALIGNED) and (suite, task) in TUMBLING:
            continue
        assert np.linalg.norm(ours[name][0] - position) < NEAR, (name, start)
        assert angle_between(ours[name][1], quat) < ALIGNED, (name, start)


@pytest.mark.parametrize(("suite", "task"), SAMPLE[:1])
def test_objects_settle_where_the_published_assets_leave_them(suite: str, task: int, pack: Path, libero_assets: Path):
    check_settles_alike(suite, task, 0, pack, libero_assets)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("suite", "task"), [(suite, task.index) for suite in libero.SUITES for task in libero.tasks(suite)]
)
def test_all_tasks_settle_where_the_published_assets_leave_them(suite: str, task: int, pack: Path, libero_assets: Path):
    for start in STARTS:
        check_settles_alike(suite, task, start, pack, libero_assets)
