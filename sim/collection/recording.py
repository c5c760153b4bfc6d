"""What a worker process of a collection does: plays one episode, stores it with its tracks, and merges a task's file.

A worker keeps the environment of its last task for its next episode.
"""

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from common.conventions import CONTROL_FREQUENCY
from demos.hdf5 import DemoHeader, DemoWriter
from demos.tracks import TrackWriter, track_folder
from sim.libero import benchmark

if TYPE_CHECKING:
    from sim.libero.env import LiberoEnv


@dataclass(frozen=True)
class CollectionSettings:
    """What every worker needs to know.

    Args:
        out: demonstrations go to ``OUT/demos``, tracks to ``OUT/tracks``.
        assets, image_size, fast_render: as ``LiberoEnv`` takes them.
        noise: largest standard deviation of the noise on executed actions.
        pushes: push the hand off its way now and then.
    """

    out: Path
    assets: str
    image_size: int
    fast_render: bool
    noise: float
    pushes: bool


@dataclass(frozen=True)
class Outcome:
    """What a worker reports of one attempt."""

    success: bool
    steps: int
    seconds: float


def demo_path(out: Path, task: benchmark.Task) -> Path:
    """Where the demonstrations of a task are written."""
    return out / "demos" / task.suite / f"{task.name}_demo.hdf5"


def record_episode(settings: CollectionSettings, suite: str, index: int, seed: int) -> Outcome:
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


def merge_task(settings: CollectionSettings, suite: str, index: int) -> None:
    """Merge the episodes of a task into one file; runs in a worker process."""
    env = _environment(settings, suite, index)
    DemoWriter(demo_path(settings.out, env.task), _header(env, settings)).finish()


_kept: list["LiberoEnv"] = []
"""The environment of a worker process, kept for its next episode."""


def _environment(settings: CollectionSettings, suite: str, index: int) -> "LiberoEnv":
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


def _header(env: "LiberoEnv", settings: CollectionSettings) -> DemoHeader:
    from sim.libero.env import CAMERAS

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
