"""Episodes an hour: our environments and runner against a plain loop over LIBERO's ``OffScreenRenderEnv``.

    python benchmarks/simulation.py

Both play the same episodes with the same stand-in for a policy. It draws its actions from the joint positions it is
shown, so that both act alike only as long as their states are equal bit for bit, which is checked. Start-up (imports,
compiling models, worker processes) counts: short runs show little else.
"""

import argparse
import contextlib
import os
import resource
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from common import cli
from common.conventions import VIEWS
from sim.evaluation.chunk_execution import Execution
from sim.evaluation.runner import run_episodes
from sim.evaluation.worker import Job, Observation, Rules, play
from sim.libero import assets, benchmark
from sim.libero.env import SETTLE_ACTION, LiberoEnv
from sim.suites import SUITES

PARTS = ("physics", "control", "rendering", "policy", "reset", "build", "other")


class StandIn:
    """A policy that thinks for a while and then moves the arm at random, always alike from the same joint positions.

    Args:
        seconds: processor time that one call takes, for however many observations.
    """

    views = VIEWS
    image_size = (128, 128)
    action_horizon = 16

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.states: set[bytes] = set()

    def act(self, images: np.ndarray, proprio: np.ndarray, text: Sequence[str]) -> np.ndarray:
        """Actions ``(b, 16, 7)`` for images ``(b, v, h, w, 3)`` and proprioception ``(b, 9)``."""
        started = time.thread_time()
        self.states |= {row.tobytes() for row in proprio}
        chunks = [
            np.random.default_rng(np.frombuffer(row.tobytes(), np.uint32)).uniform(-1, 1, (self.action_horizon, 7))
            for row in proprio
        ]
        while time.thread_time() - started < self.seconds:
            pass
        return np.array(chunks)

    def answer(self, observation: Observation) -> np.ndarray:
        """The chunk ``(16, 7)`` for one observation."""
        return self.act(observation.images[None], observation.proprio[None], [observation.text])[0]


class Stopwatch:
    """Processor time of the parts of a program, each without the parts called from inside it."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._inside: list[float] = []

    @contextlib.contextmanager
    def on(self, part: str) -> Iterator[None]:
        """Count what runs in the ``with`` block as ``part``."""
        started = time.process_time()
        self._inside.append(0.0)
        try:
            yield
        finally:
            took = time.process_time() - started
            self.seconds[part] += took - self._inside.pop()
            if self._inside:
                self._inside[-1] += took

    def watch(self, stack: contextlib.ExitStack, owner: Any, name: str, part: str) -> None:
        """Count every call of ``owner.name`` as ``part``, until ``stack`` is left."""
        function = getattr(owner, name)

        def timed(*args: Any, **kwargs: Any) -> Any:
            with self.on(part):
                return function(*args, **kwargs)

        stack.enter_context(mock.patch.object(owner, name, timed))


@contextlib.contextmanager
def parts(watch: Stopwatch) -> Iterator[None]:
    """Count what both sides spend their time with."""
    benchmark.use_assets(assets.resolve().path)
    import mujoco
    from libero.libero.envs.env_wrapper import ControlEnv
    from robosuite.robots.single_arm import SingleArm
    from robosuite.utils.binding_utils import MjSim

    from sim.libero.control_step import ControlLoop
    from sim.libero.renderer import CameraRenderer

    with contextlib.ExitStack() as stack:
        for name in ("mj_forward", "mj_step", "mj_step1", "mj_step2", "mj_fwdConstraint"):
            watch.watch(stack, mujoco, name, "physics")
        for owner, name, part in (
            (SingleArm, "control", "control"),
            (ControlLoop, "step", "control"),
            (MjSim, "render", "rendering"),
            (CameraRenderer, "render", "rendering"),
            (StandIn, "act", "policy"),
            (ControlEnv, "reset", "reset"),
            (ControlEnv, "set_init_state", "reset"),
            (LiberoEnv, "restart", "reset"),
            (ControlEnv, "__init__", "build"),
            (LiberoEnv, "__init__", "build"),
        ):
            watch.watch(stack, owner, name, part)
        with watch.on("other"):
            yield


def play_plainly(jobs: list[Job], rules: Rules, replan: int, policy: StandIn) -> int:
    """The loop that everybody writes: one process, every observation of every step. Returns the number of steps."""
    from libero.libero.envs import OffScreenRenderEnv

    steps = 0
    for (suite, index), episodes in groupby(jobs, lambda job: (job.suite, job.task)):
        task = benchmark.task(suite, index)
        env = OffScreenRenderEnv(
            bddl_file_name=str(task.bddl_file), camera_heights=rules.image_size, camera_widths=rules.image_size
        )
        samplers = list(env.env.object_property_initializers)
        for job in episodes:
            # LIBERO appends these again at every reset; without this line a later episode would be another than ours.
            env.env.object_property_initializers = list(samplers)
            env.seed(job.seed)
            env.reset()
            shown = env.set_init_state(benchmark.init_states(task)[job.init_state])
            for _ in range(rules.settle_steps):
                shown, _, _, _ = env.step(SETTLE_ACTION)
            robot = env.robots[0]
            joints = [*robot._ref_joint_pos_indexes, *robot._ref_gripper_joint_pos_indexes]
            for step in range(rules.step_limit(job.suite)):
                if step % replan == 0:
                    images = np.stack([shown["agentview_image"][::-1], shown["robot0_eye_in_hand_image"][::-1]])
                    # Not as shown: LIBERO's observations are from a physics step or two before the end of the step.
                    proprio = env.sim.data.qpos[joints].astype(np.float32)
                    chunk = policy.answer(Observation(images, proprio, task.language))
                shown, _, done, _ = env.step(chunk[step % replan])
                steps += 1
                if done:
                    break
        env.close()
    return steps


def play_here(jobs: list[Job], rules: Rules, policy: StandIn) -> int:
    """What one of our workers does, in this process, to see where its time goes. Returns the number of steps."""
    steps = 0
    for (suite, index), episodes in groupby(jobs, lambda job: (job.suite, job.task)):
        env = LiberoEnv(suite, index, assets=rules.assets, fast_render=rules.fast_render)
        steps += sum(play(env, job, rules, policy.answer).steps for job in episodes)
        env.close()
    return steps


@dataclass(frozen=True)
class Measured:
    """One way of playing all episodes: wall-clock and processor seconds."""

    name: str
    episodes: int
    wall: float
    processor: float

    @property
    def per_hour(self) -> float:
        """Episodes an hour."""
        return self.episodes / self.wall * 3600


@contextlib.contextmanager
def measured(name: str, episodes: int, into: list[Measured]) -> Iterator[None]:
    """Append the time that the ``with`` block takes, worker processes included."""

    def processor() -> float:
        usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        return sum(usage.ru_utime + usage.ru_stime for usage in usages)

    wall, before = time.perf_counter(), processor()
    yield
    into.append(Measured(name, episodes, time.perf_counter() - wall, processor() - before))
    print(f"{name}: {into[-1].wall:.1f} s", file=sys.stderr)


def main(argv: list[str]) -> None:
    """Measure both sides and print what they took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--suite", default="libero_10", choices=SUITES)
    parser.add_argument("--tasks", default="0,2", help="task numbers, with commas (default: %(default)s)")
    parser.add_argument("--episodes", type=int, default=3, help="per task (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=200, help="steps of an episode (default: %(default)s)")
    parser.add_argument("--replan", type=int, default=8, help="actions of a chunk (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=2, help="most worker processes (default: %(default)s)")
    parser.add_argument("--policy-ms", type=float, default=20, help="a policy call's time (default: %(default)s)")
    parser.add_argument("--fast-render", action="store_true", help="ours without multisampling and small details")
    parser.add_argument("--assets", type=Path, help="folder of LIBERO's assets")
    options = parser.parse_args(argv)

    found = assets.resolve(options.assets)
    os.environ["LIBERO_ASSETS"] = str(found.path)
    rules = Rules(
        execution=Execution(replan=options.replan),
        max_steps=options.steps,
        assets=str(found.path),
        fast_render=options.fast_render,
    )
    tasks = [int(task) for task in options.tasks.split(",")]
    jobs = [Job(options.suite, task, episode, episode + 1) for task in tasks for episode in range(options.episodes)]

    runs: list[Measured] = []
    theirs, ours = StandIn(options.policy_ms / 1e3), StandIn(options.policy_ms / 1e3)
    watched = [Stopwatch(), Stopwatch()]
    with measured("plain loop", len(jobs), runs), parts(watched[0]):
        steps = [play_plainly(jobs, rules, options.replan, theirs)]
    with measured("ours, in this process", len(jobs), runs), parts(watched[1]):
        steps += [play_here(jobs, rules, ours)]
    for workers in range(1, options.workers + 1):
        with measured(f"ours, {workers} worker{'s' * (workers > 1)}", len(jobs), runs):
            for episode in run_episodes(jobs, rules, workers, ours):  # type: ignore[arg-type]  # asked for actions only
                assert episode.error is None, episode.error

    print(f"{len(jobs)} episodes of {options.steps} steps, {options.suite} tasks {options.tasks}, one policy call of")
    print(f"{options.policy_ms:g} ms in {options.replan} steps, {os.cpu_count()} cores; assets {found}\n")
    print(f"{'':24}{'episodes/h':>12}{'ratio':>8}{'CPU s/episode':>16}{'ratio':>8}")
    for run in runs:
        print(
            f"{run.name:24}{run.per_hour:12.0f}{run.per_hour / runs[0].per_hour:8.2f}"
            f"{run.processor / run.episodes:16.2f}{runs[0].processor / run.processor:8.2f}"
        )
    print(f"\n{'CPU ms a step':24}" + "".join(f"{part:>11}" for part in PARTS))
    for run, watch, counted in zip(runs[:2], watched, steps, strict=True):
        played = counted + rules.settle_steps * len(jobs)
        print(f"{run.name:24}" + "".join(f"{watch.seconds[part] / played * 1e3:11.2f}" for part in PARTS))
    print(f"\nstates {'identical' if theirs.states == ours.states else 'DIFFER'}")
    print(f"{runs[-1].per_hour / runs[0].per_hour:.1f} times the plain loop's episodes an hour")


if __name__ == "__main__":
    cli.run(main)
