"""The procedural pack: complete, small, the same every time, and LIBERO's tasks stand in it as in the published one."""

import re
from collections.abc import Collection, Iterable
from pathlib import Path

import numpy as np
import pytest

from sim.libero import benchmark
from sim.libero.env import LiberoEnv
from sim.libero.procedural import build
from sim.libero.procedural.arenas import arenas
from sim.libero.procedural.pack import digest, models, write
from sim.suites import SUITES

SAMPLE = (("libero_goal", 2), ("libero_10", 9), ("libero_object", 4))
SETTLE_STEPS = 20
NEAR, ALIGNED = 0.02, np.deg2rad(10.0)
"""How far an object of interest may settle from where the published assets leave it (m, rad)."""
OVERLAPPING = "bowl and plate begin inside each other and are pushed apart, with the published models too"
EXEMPT: dict[tuple[str, int], tuple[Collection[int], str]] = {
    ("libero_spatial", 0): ({18}, OVERLAPPING),
    ("libero_spatial", 8): ({33, 36}, OVERLAPPING),
    ("libero_90", 26): ({0}, "the wine bottle falls over"),
    ("libero_90", 27): ({37}, "the wine bottle falls over"),
}
"""Initial states from which the published models themselves slide or turn further, and chance decides where to."""
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

    monkeypatch.setattr("sim.libero.procedural.pack.write", fail)
    with pytest.raises(OSError, match="disk full"):
        build(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_pack_has_every_object_fixture_and_scene_that_the_tasks_use(pack: Path):
    wanted = set()
    for suite in SUITES:
        for task in benchmark.tasks(suite):
            text = task.bddl_file.read_text()
            for section in re.findall(r"\(:(?:fixtures|objects)(.*?)\)", text, re.DOTALL):
                wanted |= set(re.findall(r" - (\w+)", section))
    assert wanted - TABLES <= {model.name for model in models()}
    assert len(arenas()) == 5
    files = contents(pack)
    named = re.findall(rb'file="[./]*textures/([\w.-]+)"', b"".join(files[f] for f in files if f.endswith(".xml")))
    assert {f"textures/{name.decode()}" for name in named} <= set(files)


Poses = dict[str, tuple[np.ndarray, np.ndarray]]


def settled(suite: str, task: int, starts: Iterable[int], assets: Path, steps: int = SETTLE_STEPS) -> dict[int, Poses]:
    """Where the objects of interest come to rest from shipped init states: position and unit quaternion."""
    env = LiberoEnv(suite, task, assets=assets)
    bodies = {name: body for name, body in env.problem.obj_body_id.items() if name in env.problem.obj_of_interest}
    rest = {}
    for start in starts:
        env.restart(seed=0, init_state=start)
        env.settle(steps)
        rest[start] = {name: (env.data.xpos[body].copy(), env.data.xquat[body].copy()) for name, body in bodies.items()}
    env.close()
    return rest


def angle_between(p: np.ndarray, q: np.ndarray) -> float:
    return 2 * float(np.arccos(min(1.0, abs(float(p @ q)))))


@pytest.mark.parametrize(("suite", "task"), SAMPLE)
def test_a_task_stands_still_in_the_pack(pack: Path, suite: str, task: int):
    states = benchmark.init_states(benchmark.task(suite, task))
    env = LiberoEnv(suite, task, assets=pack)
    for start in (0, len(states) - 1):
        env.restart(seed=0, init_state=start)
        assert env.state().shape == states[start].shape
        env.settle(SETTLE_STEPS)
        resting = env.data.qpos.copy()
        env.settle(SETTLE_STEPS)
        assert np.abs(env.data.qpos - resting).max() < 0.005
    env.close()


def strays(suite: str, task: int, starts: Iterable[int], pack: Path, published: Path) -> dict[int, list[str]]:
    """The starts from which objects of interest settle elsewhere than with the published assets, and which do."""
    ours, theirs = (settled(suite, task, starts, assets) for assets in (pack, published))
    found: dict[int, list[str]] = {}
    for start, poses in theirs.items():
        assert ours[start].keys() == poses.keys()
        for name, (position, quat) in poses.items():
            away = float(np.linalg.norm(ours[start][name][0] - position))
            if away > NEAR or angle_between(ours[start][name][1], quat) > ALIGNED:
                found.setdefault(start, []).append(name)
    return found


@pytest.mark.parametrize(
    ("suite", "task", "starts"),
    [("libero_goal", 2, (0, 25)), ("libero_spatial", 4, (8, 30)), ("libero_spatial", 5, (0,))],
    ids=["on the table", "in a drawer: upright and leaning", "askew on a ramekin"],
)
def test_objects_settle_where_the_published_assets_leave_them(
    suite: str, task: int, starts: tuple[int, ...], pack: Path, libero_assets: Path
):
    assert strays(suite, task, starts, pack, libero_assets) == {}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("suite", "task"), [(suite, task.index) for suite in SUITES for task in benchmark.tasks(suite)]
)
def test_all_starts_of_all_tasks_settle_where_the_published_assets_leave_them(
    suite: str, task: int, pack: Path, libero_assets: Path
):
    starts = range(len(benchmark.init_states(benchmark.task(suite, task))))
    found = strays(suite, task, starts, pack, libero_assets)
    exempt, _ = EXEMPT.get((suite, task), (set(), ""))
    assert {start: names for start, names in found.items() if start not in exempt} == {}


@pytest.mark.slow
@pytest.mark.parametrize(("suite", "task"), sorted(EXEMPT))
def test_from_every_exempt_start_the_published_models_themselves_move(suite: str, task: int, libero_assets: Path):
    starts, _ = EXEMPT[suite, task]
    before = settled(suite, task, starts, libero_assets, steps=0)
    for start, rest in settled(suite, task, starts, libero_assets).items():
        moves = [
            np.linalg.norm((rest[name][0] - position)[:2]) > NEAR or angle_between(rest[name][1], quat) > ALIGNED
            for name, (position, quat) in before[start].items()
        ]
        assert any(moves), start
