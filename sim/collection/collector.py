"""Collect demonstrations: ``python -m sim.collect --suite libero_10 --episodes 50``.

Scripted experts play freshly sampled placements (never the shipped initial states); successes are written as LIBERO
HDF5 files with exact point tracks beside them. A collection may be killed at any moment and started again: what is
there is kept and only what is missing is collected.
"""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from common.cores import cores_for, pin
from demos.hdf5 import DemoHeader, DemoReader, DemoWriter
from demos.tracks import TrackWriter, track_folder
from sim.libero import benchmark

if TYPE_CHECKING:
    from sim.libero.env import LiberoEnv

MAX_FAILURES_IN_A_ROW = 20
"""A task on which the expert fails this often running is given up."""


@dataclass(frozen=True)
class Settings:
    """What every worker needs to know."""

    out: Path
    assets: str
    image_size: int
    fast_render: bool
    noise: float
    pushes: bool


@dataclass
class Quota:
    """The state of one task: how many demonstrations exist, and which seed comes next."""

    task: benchmark.Task
    wanted: int
    done: int
    next_seed: int
    in_flight: int = 0
    failures: int = 0
    failures_in_a_row: int = 0
    seconds: list[float] = field(default_factory=list)

    @property
    def open(self) -> bool:
        """Whether another episode should be started."""
        return self.done + self.in_flight < self.wanted and self.failures_in_a_row < MAX_FAILURES_IN_A_ROW


@dataclass(frozen=True)
class Outcome:
    """What a worker reports of one attempt."""

    success: bool
    steps: int
    seconds: float


def demo_path(out: Path, task: benchmark.Task) -> Path:
    """Where the demonstrations of a task are written."""
    return out / "demos" / task.suite / f"{task.name}_demo.hdf5"


def collect_one(settings: Settings, suite: str, index: int, seed: int) -> Outcome:
    """Play, render and store one episode; runs in a worker process, which keeps the environment of its last task."""
    from sim.collection import demonstrate

    started = time.perf_counter()
    env = _environment(settings, suite, index)
    disturbance = demonstrate.Disturbance(noise=settings.noise)
    if not settings.pushes:
        disturbance = replace(disturbance, push_chance=0.0, nudge_chance=0.0)
    take = demonstrate.play(env, seed, disturbance)
    if take is None:
        return Outcome(False, 0, time.perf_counter() - started)
    episode, tracks = demonstrate.render(env, take, seed)
    path = demo_path(settings.out, env.task)
    size = (settings.image_size, settings.image_size)
    track_writer = TrackWriter(track_folder(settings.out / "tracks", suite, path))

    def write_tracks(demo: int) -> None:
        track_writer.write(demo, tracks, size)

    DemoWriter(path, _header(env, settings)).append(episode, before_publish=write_tracks)
    return Outcome(True, len(episode), time.perf_counter() - started)


def merge_task(settings: Settings, suite: str, index: int) -> None:
    """Merge the episodes of a task into one file; runs in a worker process."""
    env = _environment(settings, suite, index)
    DemoWriter(demo_path(settings.out, env.task), _header(env, settings)).finish()


_kept: list["LiberoEnv"] = []
"""The environment of a worker process, kept for its next episode."""


def _environment(settings: Settings, suite: str, index: int) -> "LiberoEnv":
    from sim.libero.env import LiberoEnv

    if _kept and (_kept[0].task.suite, _kept[0].task.index) != (suite, index):
        _kept.pop().close()
    if not _kept:
        _kept.append(
            LiberoEnv(
                suite,
                index,
                assets=settings.assets,
                image_size=settings.image_size,
                fast_render=settings.fast_render,
            )
        )
    return _kept[0]


def _header(env: "LiberoEnv", settings: Settings) -> DemoHeader:
    from sim.libero.env import CAMERAS, CONTROL_FREQUENCY

    robot = env.problem.robots[0]
    return DemoHeader(
        language=env.task.language,
        problem_name=env.problem.parsed_problem["problem_name"],
        bddl_file_name=f"{env.task.suite}/{env.task.bddl_file.name}",
        bddl_file_content=env.task.bddl_file.read_text(),
        env_kwargs={
            "robots": ["Panda"],
            "controller_configs": {
                key: value
                for key, value in robot.controller_config.items()
                if isinstance(value, str | int | float | bool | list | type(None))
            },
            "control_freq": CONTROL_FREQUENCY,
            "camera_names": list(CAMERAS.values()),
            "camera_heights": settings.image_size,
            "camera_widths": settings.image_size,
            "multisampling": not settings.fast_render,
            "assets_digest": env.assets.digest,
        },
    )


def collect(settings: Settings, tasks: list[benchmark.Task], episodes: int, workers: int, seed: int) -> list[Quota]:
    """Collect until every task has ``episodes`` demonstrations. Prints progress; returns what was reached."""
    quotas = [_quota(settings, task, episodes, seed) for task in tasks]
    console, cores = Console(), cores_for(workers)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("ETA"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress, _pools(cores) as pools:
        bar = progress.add_task("demonstrations", total=episodes * len(quotas), completed=sum(q.done for q in quotas))
        running: dict[Future[Outcome], tuple[int, Quota]] = {}
        at_work: dict[int, Quota | None] = dict.fromkeys(range(workers))
        idle = list(range(workers))
        while True:
            while idle and (quota := _next(quotas, at_work, idle[0])) is not None:
                worker = idle.pop(0)
                at_work[worker] = quota
                future = pools[worker].submit(
                    collect_one, settings, quota.task.suite, quota.task.index, quota.next_seed
                )
                quota.next_seed += 1
                quota.in_flight += 1
                running[future] = (worker, quota)
            if not running:
                break
            finished, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in finished:
                worker, quota = running.pop(future)
                quota.in_flight -= 1
                try:
                    _record(quota, future.result())
                except BrokenProcessPool:
                    console.print(f"a worker died in {quota.task.suite} {quota.task.index}; starting another")
                    pools[worker] = _pool(cores[worker])
                idle.append(worker)
                progress.update(bar, completed=sum(q.done for q in quotas))
                if not console.is_terminal:
                    console.print(_line(quotas, quota), highlight=False)
                if not quota.open and not quota.in_flight:
                    _merge(pools[worker], settings, quota)
        for quota in quotas:
            _merge(pools[0], settings, quota)
    return quotas


def _merge(pool: ProcessPoolExecutor, settings: Settings, quota: Quota) -> None:
    """Merge the episodes of a task into its file, if that has not been done."""
    if demo_path(settings.out, quota.task).with_suffix(".parts").exists() and quota.done:
        pool.submit(merge_task, settings, quota.task.suite, quota.task.index).result()


def _next(quotas: list[Quota], at_work: dict[int, Quota | None], worker: int) -> Quota | None:
    """A worker stays with its task, and then takes the one furthest behind that no other worker is at."""
    own = at_work[worker]
    if own is not None and own.open:
        return own
    others = [quota for other, quota in at_work.items() if other != worker]
    waiting = [quota for quota in quotas if quota.open]
    return min(waiting, key=lambda quota: (quota in others, quota.done)) if waiting else None


def _record(quota: Quota, outcome: Outcome) -> None:
    quota.seconds.append(outcome.seconds)
    if outcome.success:
        quota.done += 1
        quota.failures_in_a_row = 0
    else:
        quota.failures += 1
        quota.failures_in_a_row += 1


def _line(quotas: list[Quota], quota: Quota) -> str:
    done, total = sum(q.done for q in quotas), sum(q.wanted for q in quotas)
    return (
        f"[{done}/{total}] {quota.task.suite} {quota.task.index}: {quota.done} of {quota.wanted}, "
        f"{quota.failures} failed, {quota.seconds[-1]:.1f} s"
    )


def _quota(settings: Settings, task: benchmark.Task, episodes: int, seed: int) -> Quota:
    """Resume: count what is there, and go on after the highest seed that was used."""
    base = seed * 1_000_000 + benchmark.SUITES.index(task.suite) * 100_000 + task.index * 1_000
    path, used = demo_path(settings.out, task), []
    for file in (path, *sorted(path.with_suffix(".parts").glob("demo_*.hdf5"))):
        if file.exists():
            with DemoReader(file) as reader:
                used += [int(reader.episode(i, slice(0)).attributes.get("seed", base)) for i in range(len(reader))]
    return Quota(task, max(episodes, len(used)), len(used), max(used, default=base - 1) + 1)


@contextmanager
def _pools(cores: list[int | None]) -> Iterator[list[ProcessPoolExecutor]]:
    """One single-process pool a worker, so that each keeps the environment of its own task."""
    pools = [_pool(core) for core in cores]
    try:
        yield pools
    except BaseException:
        for pool in pools:
            for process in (pool._processes or {}).values():
                process.terminate()
        raise
    finally:
        for pool in pools:
            pool.shutdown(wait=False, cancel_futures=True)


def _pool(core: int | None) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), initializer=_start, initargs=(core,))


def _start(core: int | None) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the main process's business.
    threading.Thread(target=_end_with_parent, daemon=True).start()
    pin(core)


def _end_with_parent() -> None:
    """A worker whose main process was killed would wait for its next episode for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
