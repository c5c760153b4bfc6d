"""A worker process: runs the episodes it is given in its own environment and asks the main process for actions.

It never sees the policy. For every chunk it sends an ``Observation`` and waits for the actions; at the end of an
episode it sends the ``EpisodeResult``. A broken environment is reported as a ``Failure``, never as a failed episode.
"""

import contextlib
import logging
import signal
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

import numpy as np

from common.conventions import CONTROL_FREQUENCY, VIEWS
from common.cores import pin
from common.errors import UserError
from policy.interface import Plan
from sim.evaluation.chunk_execution import ChunkExecution, Execution
from sim.evaluation.instruction_switch import InstructionSwitch
from sim.evaluation.results import EpisodeResult
from sim.libero import benchmark
from sim.pictures.poster import save_poster
from sim.suites import MAX_STEPS

if TYPE_CHECKING:
    from sim.libero.env import LiberoEnv

log = logging.getLogger(__name__)

SHIPPED_STATES = 50
"""Initial states that LIBERO ships for every task."""
STEPS_PER_FRAME = 2
"""Videos show every second control step."""


@dataclass(frozen=True)
class Job:
    """One episode to run."""

    suite: str
    task: int
    episode: int
    seed: int

    @property
    def init_state(self) -> int:
        """Decided by the episode's number alone, never by what ran before."""
        return self.episode % SHIPPED_STATES

    @property
    def key(self) -> tuple[str, int, int]:
        """As of the ``EpisodeResult`` that comes of it."""
        return self.suite, self.task, self.episode


@dataclass(frozen=True)
class Rules:
    """How every episode of a run is played.

    Args:
        expert: let the scripted expert act inside the worker, instead of the policy.
        execution: how chunks of actions are executed.
        max_steps: step limit; ``None`` for the suite's own.
        settle_steps: steps in which objects come to rest before the first counted one.
        video: which episodes are filmed, into ``video_folder``.
        poster_folder: where each episode leaves a picture of its end; ``None`` for no posters.
        video_size: side of each view in films (pixels, even); ``None`` for that of the images.
        switch: tell the policy another task's instruction from some step on; ``None`` never to.
        views: what the policy sees, in its order; ``None`` for all.
        image_size, assets, fast_render: as ``LiberoEnv`` takes them.
    """

    expert: bool = False
    execution: Execution = field(default_factory=Execution)
    max_steps: int | None = None
    settle_steps: int = 10
    video: Literal["none", "failures", "all"] = "none"
    video_folder: Path = Path("videos")
    poster_folder: Path | None = None
    video_size: int | None = None
    switch: InstructionSwitch | None = None
    views: tuple[str, ...] | None = None
    image_size: int = 128
    assets: str | None = None
    fast_render: bool = False

    def step_limit(self, suite: str) -> int:
        """Counted steps after which an episode has failed; those before the instruction changes come on top."""
        return (self.max_steps or MAX_STEPS[suite]) + (self.switch.step if self.switch else 0)


@dataclass(frozen=True)
class Observation:
    """What the policy needs for one chunk: images ``(v, h, w, 3)`` uint8, proprio ``(9,)``, the instruction.

    ``step``: counted steps of the episode so far. ``plan``: what its chunk is to go on with, if the policy can.
    """

    images: np.ndarray
    proprio: np.ndarray
    text: str
    step: int = 0
    plan: Plan | None = None


@dataclass(frozen=True)
class Failure:
    """An episode that could not be played. ``user_error``: the user has to mend something, retrying is pointless."""

    message: str
    user_error: bool

    @property
    def reason(self) -> str:
        """The last line: of a traceback, what went wrong."""
        return self.message.rstrip().rpartition("\n")[2]


@dataclass(frozen=True)
class Notice:
    """Something that the user should know, and that does not stop the episode."""

    text: str


def work(connection: Connection, rules: Rules, core: int | None) -> None:
    """Serve jobs from ``connection`` until it closes; the environment is kept while the task stays the same."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the main process's business: it closes the connection.
    pin(core)
    env: LiberoEnv | None = None
    try:
        while (job := connection.recv()) is not None:
            try:
                env = _environment(env, job, rules)
                result = play(
                    env,
                    job,
                    rules,
                    ask=lambda observation: _ask(connection, observation),
                    tell=lambda text: connection.send(Notice(text)),
                )
                connection.send(result)
            except (EOFError, ConnectionError):
                raise
            except UserError as error:
                connection.send(Failure(str(error), user_error=True))
            except Exception:
                connection.send(Failure(traceback.format_exc(), user_error=False))
                return
    except (EOFError, ConnectionError):
        return  # The main process is gone.
    finally:
        if env is not None:
            env.close()


def play(
    env: "LiberoEnv",
    job: Job,
    rules: Rules,
    ask: Callable[[Observation], np.ndarray],
    tell: Callable[[str], None] = log.warning,
) -> EpisodeResult:
    """Play one episode.

    Args:
        env: the job's task, or the one that the rules switch to; its own step limit is not looked at.
        ask: gives a chunk ``(horizon, 7)`` for an observation; not called for the expert.
        tell: hears about an episode without its film, because that could not be written.
    """
    started = time.perf_counter()
    env.restart(seed=job.seed, init_state=job.init_state)
    env.settle(rules.settle_steps)
    expert = _expert(env, job) if rules.expert else None
    chunks = ChunkExecution(rules.execution)
    task, switch = benchmark.task(job.suite, job.task), rules.switch
    told = task.language
    success, steps, jump = False, 0, 0.0
    with _Film(job, rules, tell) as film:
        while not success and steps < rules.step_limit(job.suite):
            observation = env.observe() if expert is None and chunks.due else None
            film.add(env, steps, observation)
            if observation is not None:
                if switch is not None and switch.due(steps, observation["proprio"]):
                    told, switch = env.task.language, None
                chunks.put(ask(_observation(observation, told, rules, steps, chunks.plan)))
            action = chunks.next() if expert is None else next(expert, None)
            if action is None:
                break  # The expert has given up.
            if chunks.jump is not None:
                jump = max(jump, env.joint_step(chunks.jump))
            _, success, _, _ = env.advance(action)
            steps += 1
        film.finish(env, success)
    _leave_poster(env, job, rules)
    wall_time = round(time.perf_counter() - started, 3)
    return EpisodeResult(
        job.suite, job.task, task.name, job.episode, job.init_state, job.seed, success, steps, wall_time,
        jump_deg=None if rules.expert else round(jump, 3),
    )  # fmt: skip


def video_path(folder: Path, key: tuple[str, int, int], success: bool) -> Path:
    """The video of an episode: ``<suite>-task<nn>-episode<nnn>-<success|failure>.mp4``."""
    suite, task, episode = key
    return folder / f"{suite}-task{task:02d}-episode{episode:03d}-{'success' if success else 'failure'}.mp4"


def poster_path(folder: Path, key: tuple[str, int, int]) -> Path:
    """The picture of how an episode ended, filmed or not: ``<suite>-task<nn>-episode<nnn>.jpg``."""
    suite, task, episode = key
    return folder / f"{suite}-task{task:02d}-episode{episode:03d}.jpg"


def _leave_poster(env: "LiberoEnv", job: Job, rules: Rules) -> None:
    """A picture of how the episode ended, all views side by side, if the rules want one and the disk has room."""
    if rules.poster_folder is not None:
        with contextlib.suppress(OSError):  # The episode counts without it.
            save_poster(np.concatenate(env.observe()["images"], axis=1), poster_path(rules.poster_folder, job.key))


def _observation(
    observation: dict[str, np.ndarray], text: str, rules: Rules, step: int, plan: Plan | None
) -> Observation:
    seen = [VIEWS.index(view) for view in rules.views or VIEWS]
    return Observation(observation["images"][seen], observation["proprio"], text, step, plan)


def _ask(connection: Connection, observation: Observation) -> np.ndarray:
    connection.send(observation)
    return connection.recv()


def _environment(env: "LiberoEnv | None", job: Job, rules: Rules) -> "LiberoEnv":
    from sim.libero.env import LiberoEnv

    task = job.task if rules.switch is None else rules.switch.task
    if env is not None:
        if (env.task.suite, env.task.index) == (job.suite, task):
            return env
        env.close()
    return LiberoEnv(job.suite, task, assets=rules.assets, image_size=rules.image_size, fast_render=rules.fast_render)


def _expert(env: "LiberoEnv", job: Job) -> Iterator[np.ndarray]:
    from sim.experts import expert_actions

    return expert_actions(env, np.random.default_rng(job.seed))


class _Film:
    """The video of an episode, if the rules want one; leaving the ``with`` block unfinished discards it.

    A film that cannot be written is given up, and ``tell`` hears of it: the episode counts without it.
    """

    def __init__(self, job: Job, rules: Rules, tell: Callable[[str], None]) -> None:
        from common.video import VideoWriter

        self._only_failures, self._size = rules.video == "failures", rules.video_size
        self._folder, self._key, self._tell = rules.video_folder, job.key, tell
        hidden = video_path(self._folder, job.key, success=False)
        self._writer = None if rules.video == "none" else VideoWriter(hidden, CONTROL_FREQUENCY / STEPS_PER_FRAME)

    def add(self, env: "LiberoEnv", step: int, observation: dict[str, np.ndarray] | None) -> None:
        """Add the views side by side, if this step is a frame; ``observation`` of it, if there is one."""
        if self._writer is not None and step % STEPS_PER_FRAME == 0:
            with self._given_up_on_errors():
                self._writer.add(self._frame(env, observation))

    def finish(self, env: "LiberoEnv", success: bool) -> None:
        """Show how it ended, and keep the video unless only failures are wanted."""
        if self._writer is None or (success and self._only_failures):
            return
        with self._given_up_on_errors():
            self._writer.add(self._frame(env, None))
            self._writer.keep(video_path(self._folder, self._key, success))
            self._writer = None

    def _frame(self, env: "LiberoEnv", observation: dict[str, np.ndarray] | None) -> np.ndarray:
        size = None if self._size is None else (self._size, self._size)
        if observation is not None and size in (None, env.image_size):
            return np.concatenate(observation["images"], axis=1)
        return np.concatenate([env.render_view(view, size) for view in VIEWS], axis=1)

    @contextlib.contextmanager
    def _given_up_on_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            suite, task, episode = self._key
            self._tell(f"no video of {suite} task {task} episode {episode}: {error.filename}: {error.strerror}")
            self._discard()

    def _discard(self) -> None:
        if self._writer is not None:
            self._writer.discard()
            self._writer = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._discard()
