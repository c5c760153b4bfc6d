"""Plays many episodes at once: worker processes simulate, the main process holds the one policy and batches.

Workers run ahead on their own and stop only for a chunk of actions. All observations that wait when the policy is
free are answered as one batch. A worker that breaks or is killed is replaced and its episode played again.
"""

import contextlib
import logging
import multiprocessing
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import TYPE_CHECKING

import numpy as np

from common.cores import cores_for
from common.errors import UserError
from common.interrupts import held_back
from policy.interface import batched_plan, inpaints
from sim.evaluation.results import EpisodeResult
from sim.evaluation.worker import Failure, Job, Notice, Observation, Rules, work
from sim.libero import benchmark

if TYPE_CHECKING:
    from policy.interface import Policy

log = logging.getLogger(__name__)

ATTEMPTS = 2
"""How often an episode is tried before it is recorded as broken."""
ALIKE = 3
"""If the first tries, as many as this, all break for the same reason, the others would too."""


BatchListener = Callable[[Sequence[tuple[Job, Observation]]], None]
"""Told which jobs ask for actions now, and what they see."""


def run_episodes(
    jobs: Iterable[Job],
    rules: Rules,
    workers: int,
    policy: "Policy | None" = None,
    on_batch: BatchListener | None = None,
) -> Iterator[EpisodeResult]:
    """Play episodes and yield each as it ends, in no particular order.

    Args:
        jobs: the episodes.
        rules: how they are played.
        workers: number of worker processes, started when they are first needed.
        policy: answers the workers' questions; not needed for ``rules.expert``.
        on_batch: called with every batch that the policy has answered.

    Raises:
        UserError: an environment cannot be made (no assets, no GL library), the first tries all broke alike, or the
            policy returned nonsense.
    """
    queue = Queue(jobs)
    crew = [Worker(rules, core) for core in cores_for(workers)]
    try:
        while True:
            for worker in crew:
                if worker.job is None and (job := queue.next(worker.task, [other.task for other in crew])):
                    worker.start(job)
            busy = [worker for worker in crew if worker.job is not None]
            if not busy:
                return
            heard = wait([worker.connection for worker in busy])
            requests: list[tuple[Worker, Observation]] = []
            for worker in busy:
                if worker.connection not in heard:
                    continue
                job, message = worker.job, worker.receive()
                if isinstance(message, Observation):
                    requests.append((worker, message))
                elif isinstance(message, Notice):
                    log.warning(message.text)
                elif isinstance(message, EpisodeResult):
                    queue.ended()
                    yield message
                elif job is not None and (broken := queue.retry_or_give_up(job, message)) is not None:
                    yield broken
            if requests:
                assert policy is not None
                for (worker, _), chunk in zip(requests, _act(policy, [o for _, o in requests]), strict=True):
                    worker.answer(chunk)
                if on_batch is not None:
                    on_batch([(worker.job, observation) for worker, observation in requests if worker.job is not None])
    finally:
        for worker in crew:
            worker.stop()


class Queue:
    """Jobs by task, so that workers can keep an environment for many episodes."""

    def __init__(self, jobs: Iterable[Job]) -> None:
        self._waiting: dict[tuple[str, int], deque[Job]] = {}
        self._failures: dict[Job, int] = {}
        self._first_reasons: list[str] | None = []  # until an episode has come to its end
        for job in jobs:
            self._waiting.setdefault((job.suite, job.task), deque()).append(job)

    def next(self, task: tuple[str, int] | None, taken: list[tuple[str, int] | None]) -> Job | None:
        """The next job for a worker that has an environment for ``task``; ``taken``: the tasks of all workers.

        A worker stays with its task while that has jobs. Otherwise it goes where most jobs wait for each worker.
        """
        if task not in self._waiting:
            if not self._waiting:
                return None
            task = max(self._waiting, key=lambda other: len(self._waiting[other]) / (1 + taken.count(other)))
        jobs = self._waiting[task]
        job = jobs.popleft()
        if not jobs:
            del self._waiting[task]
        return job

    def ended(self) -> None:
        """An episode has come to its end: whatever breaks from now on is not the machine."""
        self._first_reasons = None

    def retry_or_give_up(self, job: Job, failure: Failure) -> EpisodeResult | None:
        """Put a broken episode back, or return the record of its breaking if it has been tried often enough.

        Raises:
            UserError: no try has come to an end yet, and all broke alike.
        """
        if self._first_reasons is not None:
            self._first_reasons.append(failure.reason)
            if len(self._first_reasons) == ALIKE and len(set(self._first_reasons)) == 1:
                raise UserError(
                    f"the first {ALIKE} tries all broke alike: {failure.reason}; 'python -m sim.doctor' looks at this "
                    "machine, --debug shows where it broke"
                ) from RuntimeError(failure.message)
        self._failures[job] = self._failures.get(job, 0) + 1
        again = self._failures[job] < ATTEMPTS
        log.warning(
            "%s task %d episode %d broke%s: %s",
            job.suite, job.task, job.episode, ", trying it once more" if again else " again", failure.reason,
        )  # fmt: skip
        if again:
            self._waiting.setdefault((job.suite, job.task), deque()).appendleft(job)
            return None
        return EpisodeResult(
            job.suite,
            job.task,
            benchmark.task(job.suite, job.task).name,
            job.episode,
            job.init_state,
            job.seed,
            False,
            0,
            0.0,
            failure.message,
        )


class Worker:
    """The main process's end of one worker process; the process is started with the first job, and after a failure."""

    def __init__(self, rules: Rules, core: int | None) -> None:
        self._rules = rules
        self._core = core
        self._process: BaseProcess | None = None
        self._connection: Connection | None = None
        self.job: Job | None = None
        self.task: tuple[str, int] | None = None

    @property
    def connection(self) -> Connection:
        """Becomes readable when the worker has something to say or is dead."""
        assert self._connection is not None
        return self._connection

    def start(self, job: Job) -> None:
        """Give the idle worker a job."""
        if self._process is None:
            context = multiprocessing.get_context("spawn")
            with _single_threaded_children(), held_back():
                self._connection, theirs = context.Pipe()
                self._process = context.Process(target=work, args=(theirs, self._rules, self._core), daemon=True)
                self._process.start()
            theirs.close()
        self.job, self.task = job, (job.suite, job.task)
        self._send(job)

    def receive(self) -> EpisodeResult | Observation | Notice | Failure:
        """What the worker says. After an ``EpisodeResult`` or a ``Failure`` it is idle.

        Raises:
            UserError: it met something that only the user can mend.
        """
        try:
            message = self.connection.recv()
        except (EOFError, ConnectionError):
            message = Failure("the worker process died, perhaps for want of memory", user_error=False)
        if isinstance(message, Failure):
            if message.user_error:
                raise UserError(message.message)
            self.stop()
        if not isinstance(message, Observation | Notice):
            self.job = None
        return message

    def answer(self, chunk: np.ndarray) -> None:
        """Send the chunk ``(horizon, 7)`` that it waits for."""
        self._send(chunk)

    def stop(self) -> None:
        """End the process, whatever it is doing."""
        if self._process is not None:
            self._process.terminate()
            self._process.join(timeout=5)
            self._process.kill()
            self._process.join()
            self.connection.close()
        self._process = self._connection = self.task = None

    def _send(self, message: Job | np.ndarray) -> None:
        with contextlib.suppress(ConnectionError):  # It has died: the next receive says so.
            self.connection.send(message)


def _act(policy: "Policy", observations: list[Observation]) -> np.ndarray:
    """Ask the policy once for all: ``(b, horizon, 7)``."""
    images = np.stack([o.images for o in observations])
    proprio = np.stack([o.proprio for o in observations])
    text = [o.text for o in observations]
    plan = batched_plan([o.plan for o in observations], policy.action_horizon)
    if plan is not None and inpaints(policy):
        actions = np.asarray(policy.act(images, proprio, text, plan))
    else:
        actions = np.asarray(policy.act(images, proprio, text))
    expected = (len(observations), policy.action_horizon, 7)
    if actions.shape != expected:
        raise UserError(f"the policy returned actions of shape {actions.shape}, not {expected}")
    if not np.isfinite(actions).all():
        raise UserError("the policy returned actions that are not finite; its weights are probably spoiled")
    return actions


@contextlib.contextmanager
def _single_threaded_children() -> Iterator[None]:
    """Workers are parallel among themselves: numerical libraries started inside use one thread each."""
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["OMP_NUM_THREADS"]
        else:
            os.environ["OMP_NUM_THREADS"] = before
