"""What a worker of a collection does: plays one episode and stores it with its tracks."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from common.files import check_room
from demos.hdf5 import DemoReader, DemoWriter, Episode
from demos.tracks import Tracks, TrackWriter, track_folder
from sim.collection.kept_environment import Rendering, header_of, kept_environment
from sim.collection.takeover import Takeover, hand_over, opened
from sim.libero import benchmark


@dataclass(frozen=True)
class CollectionSettings:
    """What every worker needs to know.

    Args:
        out: demonstrations go to ``OUT/demos``, tracks to ``OUT/tracks``.
        rendering: how it looks.
        noise: largest standard deviation of the noise on executed actions.
        pushes: push the hand off its way now and then.
        takeover: the policy that plays the beginning of every episode, if one does.
        dataset: name of the data set; that of the suite if absent, for takeovers with ``_takeover`` behind it.
    """

    out: Path
    rendering: Rendering
    noise: float
    pushes: bool
    takeover: Takeover | None = None
    dataset: str | None = None

    def path(self, task: benchmark.Task) -> Path:
        """Where the demonstrations of a task are written."""
        own = task.suite if self.takeover is None else f"{task.suite}_takeover"
        return demo_path(self.out, self.dataset or own, task)


@dataclass(frozen=True)
class Outcome:
    """What a worker reports of one attempt."""

    success: bool
    steps: int
    seconds: float


def demo_path(out: Path, dataset: str, task: benchmark.Task) -> Path:
    """Where the demonstrations of a task are written, in a data set that mostly has the name of its suite."""
    return out / "demos" / dataset / f"{task.name}_demo.hdf5"


def stored_seeds(path: Path) -> list[int | None]:
    """The seeds of all demonstrations of a task's file and its parts; None for one that does not say."""
    found: list[int | None] = []
    for file in (path, *sorted(path.with_suffix(".parts").glob("demo_*.hdf5"))):
        if file.exists():
            with DemoReader(file) as reader:
                seeds = (reader.attributes_of(i).get("seed") for i in range(len(reader)))
                found += [None if seed is None else int(seed) for seed in seeds]
    return found


def record_episode(settings: CollectionSettings, suite: str, index: int, seed: int) -> Outcome:
    """Play, render and store one episode; one that another collection on the same folder made meanwhile only counts."""
    from sim.collection import demonstrate

    started = time.perf_counter()
    policy = None if settings.takeover is None else opened(settings.takeover)
    env = kept_environment(suite, index, settings.rendering)
    disturbance = demonstrate.Disturbance(noise=settings.noise)
    if not settings.pushes:
        disturbance = replace(disturbance, push_chance=0.0, nudge_chance=0.0)
    lead: demonstrate.Lead | None = None
    if policy is not None and settings.takeover is not None:
        lead = partial(hand_over, env, policy, settings.takeover.replan)
    take = demonstrate.play(env, seed, disturbance, lead)
    if take is None:
        return Outcome(False, 0, time.perf_counter() - started)
    path = settings.path(env.task)
    if seed in stored_seeds(path):
        return Outcome(True, len(take.actions), time.perf_counter() - started)
    episode, tracks = demonstrate.render(env, take, seed)
    if policy is not None:
        about = {"takeover_policy": policy.describe()["hash"]}
        episode = replace(episode, attributes={**episode.attributes, **about})
    writer = DemoWriter(path, header_of(env))
    store_episode(writer, settings.out / "tracks", episode, tracks, env.image_size)
    return Outcome(True, len(episode), time.perf_counter() - started)


def store_episode(
    writer: DemoWriter, tracks_root: Path, episode: Episode, tracks: Mapping[str, Tracks], image_size: tuple[int, int]
) -> None:
    """Store an episode and, before anybody can see it, its tracks.

    Raises:
        OSError: it may not fit on the disk; nothing is written then.
    """
    arrays = [*vars(episode).values(), *(array for view in tracks.values() for array in (view.points, view.vis))]
    check_room(writer.path.parent, sum(array.nbytes for array in arrays if isinstance(array, np.ndarray)))
    track_writer = TrackWriter(track_folder(tracks_root, writer.path.parent.name, writer.path))

    def write_tracks(demo: int) -> None:
        track_writer.write(demo, tracks, image_size)

    writer.append(episode, before_publish=write_tracks)
