"""Renders stored demonstrations again: in the procedural pack, with other assets, or with varied looks.

States and actions of a demonstration hold in every set of assets, whose objects agree within millimetres, so one
simulation serves them all. Tracks are made anew and are exact again.
"""

from collections import deque
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree

import numpy as np
from rich.progress import track

from common.cores import cores_for
from common.errors import UserError
from demos.hdf5 import DemoFileError, DemoReader, DemoWriter
from sim.collection.kept_environment import Rendering, header_of, kept_environment
from sim.collection.merging import merge, merged_if_interrupted
from sim.collection.recording import demo_path, store_episode
from sim.collection.worker_pools import submit, worker_pools
from sim.libero import benchmark

if TYPE_CHECKING:
    from sim.libero.env import LiberoEnv

KEPT = ("phase_names", "takeover_policy", "takeover_step")
"""What a demonstration says about itself that holds however it is rendered."""


@dataclass(frozen=True)
class RerenderingSettings:
    """What every worker needs to know.

    Args:
        source: demonstrations are read from ``SOURCE/demos/<source_dataset>``.
        out: they are written to ``OUT/demos/<dataset>``, their tracks to ``OUT/tracks/<dataset>``.
        dataset: name of the new data set.
        rendering: how it looks.
        varied: give every episode a look of its own.
        seed: decides the looks.
        source_dataset: that of the suite's name if absent.
    """

    source: Path
    out: Path
    dataset: str
    rendering: Rendering
    varied: bool
    seed: int
    source_dataset: str | None = None

    def source_path(self, task: benchmark.Task) -> Path:
        """The demonstrations of a task that are rendered again."""
        return demo_path(self.source, self.source_dataset or task.suite, task)


def rerender(settings: RerenderingSettings, tasks: list[benchmark.Task], workers: int) -> int:
    """Render what is not there yet, with a progress bar; returns how many demonstrations were rendered."""
    waiting = {task: deque(_missing(settings, task)) for task in tasks}
    total = sum(map(len, waiting.values()))
    paths = [demo_path(settings.out, settings.dataset, task) for task in tasks]
    with merged_if_interrupted(paths), worker_pools(cores_for(workers)) as pools:
        running: dict[Future[None], tuple[int, benchmark.Task]] = {}
        at_work: dict[int, benchmark.Task] = {}

        def give_work(worker: int) -> None:
            """A worker stays with its task while that has episodes, then takes the one with the most that are left."""
            task = at_work.get(worker)
            if task is None or not waiting[task]:
                task = max(tasks, key=lambda other: (other not in at_work.values(), len(waiting[other])))
                task = task if waiting[task] else max(tasks, key=lambda other: len(waiting[other]))
            if waiting[task]:
                at_work[worker] = task
                future = submit(pools[worker], rerender_episode, settings, task, waiting[task].popleft())
                running[future] = worker, task

        for worker in range(workers):
            give_work(worker)
        for _ in track(range(total), "rendering"):
            finished, _others = wait(running, return_when=FIRST_COMPLETED)
            future = finished.pop()
            worker, _task = running.pop(future)
            future.result()
            give_work(worker)
        for path in paths:
            merge(path)
    return total


def rerender_episode(settings: RerenderingSettings, task: benchmark.Task, index: int) -> None:
    """Render and store one demonstration; runs in a worker process."""
    from sim.collection import demonstrate
    from sim.collection.looks import Variation, varied

    env = kept_environment(task.suite, task.index, settings.rendering)
    with DemoReader(settings.source_path(task)) as reader:
        source, name = reader[index], reader.names[index]
    model = source.attributes.get("model_file")
    if model is None:
        raise DemoFileError(
            f"{settings.source_path(task)}: {name} keeps no model_file, so nobody knows where its "
            "fixtures stood; collect it again"
        )
    env.restart(seed=0)
    place_fixtures(env, str(model))
    take = demonstrate.Take(
        source.states,
        source.actions,
        source.actions if source.actions_executed is None else source.actions_executed,
        env.mjcf(),
        int(source.attributes.get("success_step", len(source))),
        float(source.attributes.get("noise", 0.0)),
        source.phases,
    )
    seed = int(source.attributes.get("seed", index))
    rng = np.random.default_rng([settings.seed, seed])
    with varied(env.model, rng, Variation()) if settings.varied else nullcontext():
        episode, tracks = demonstrate.render(env, take, seed)
    kept = {key: source.attributes[key] for key in KEPT if key in source.attributes}
    episode = replace(episode, attributes={**episode.attributes, **kept, "rendered_from": name})
    writer = DemoWriter(demo_path(settings.out, settings.dataset, task), header_of(env))
    store_episode(writer, settings.out / "tracks", episode, tracks, env.image_size)


def place_fixtures(env: "LiberoEnv", model_file: str) -> None:
    """Put what stands in the world without a joint where an episode's model (MJCF) had it.

    Raises:
        UserError: the model is of another task.
    """
    world = ElementTree.fromstring(model_file).find("worldbody")
    poses = {} if world is None else {body.get("name"): body for body in world.findall("body")}
    model = env.model
    for body in (model.body(i) for i in range(1, model.nbody)):
        if body.parentid[0] == 0 and not body.jntnum[0]:
            if body.name not in poses:
                raise UserError(f"the stored model has no {body.name}; it is not of the task {env.task.name}")
            position, quaternion = poses[body.name].get("pos", "0 0 0"), poses[body.name].get("quat", "1 0 0 0")
            body.pos[:] = np.fromstring(position, sep=" ")
            body.quat[:] = np.fromstring(quaternion, sep=" ")


def _missing(settings: RerenderingSettings, task: benchmark.Task) -> list[int]:
    """Numbers of the source's demonstrations that have not been rendered yet."""
    target, done = demo_path(settings.out, settings.dataset, task), set()
    for file in (target, *target.with_suffix(".parts").glob("demo_*.hdf5")):
        if file.exists():
            with DemoReader(file) as reader:
                done |= {str(reader.attributes_of(i)["rendered_from"]) for i in range(len(reader))}
    with DemoReader(settings.source_path(task)) as reader:
        return [index for index, name in enumerate(reader.names) if name not in done]
