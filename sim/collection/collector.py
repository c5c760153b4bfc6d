"""Collects demonstrations of many tasks with worker processes, until every task has what is wanted of it.

A collection may be killed at any moment and started again: what is there is kept and only what is missing is collected.
Ctrl-C and SIGTERM also merge what is there.
"""

from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from common.cores import cores_for
from common.errors import UserError
from sim.collection.merging import merge, merged_if_interrupted, unmerged
from sim.collection.quota import Quota, next_quota
from sim.collection.recording import CollectionSettings, Outcome, record_episode
from sim.collection.worker_pools import submit, worker_pool, worker_pools
from sim.libero import benchmark

DEATHS = 3
"""So many workers that die in a row will not be followed by one that lives."""


def collect(
    settings: CollectionSettings, tasks: list[benchmark.Task], episodes: int, workers: int, seed: int
) -> list[Quota]:
    """Collect until every task has ``episodes`` demonstrations. Prints progress; returns what was reached.

    Raises:
        UserError: the assets or a GL library are missing, or workers only die.
        OSError: the disk is full; what was collected before is kept.
    """
    quotas = [Quota.resumed(settings, task, episodes, seed) for task in tasks]
    console, cores = Console(), cores_for(workers)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("ETA"),
        TimeRemainingColumn(),
    )
    with (
        merged_if_interrupted(settings.path(task) for task in tasks),
        Progress(*columns, console=console, disable=not console.is_terminal) as progress,
        worker_pools(cores) as pools,
    ):
        bar = progress.add_task("demonstrations", total=episodes * len(quotas), completed=sum(q.done for q in quotas))
        running: dict[Future[Outcome], tuple[int, Quota]] = {}
        at_work: dict[int, Quota | None] = dict.fromkeys(range(workers))
        idle = list(range(workers))
        deaths = 0
        while True:
            while idle and (quota := next_quota(quotas, at_work, idle[0])) is not None:
                worker = idle.pop(0)
                at_work[worker] = quota
                future = submit(
                    pools[worker], record_episode, settings, quota.task.suite, quota.task.index, quota.next_seed
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
                    quota.record(future.result())
                except BrokenProcessPool:
                    deaths += 1
                    if deaths == DEATHS:
                        raise UserError(
                            f"{DEATHS} workers in a row died, perhaps for want of memory; use fewer --workers, "
                            "'python -m sim.doctor' looks at this machine"
                        ) from None
                    console.print(f"a worker died in {quota.task.suite} {quota.task.index}; starting another")
                    pools[worker] = worker_pool(cores[worker])
                else:
                    deaths = 0
                    if not console.is_terminal:
                        console.print(_line(quotas, quota), highlight=False)
                idle.append(worker)
                progress.update(bar, completed=sum(q.done for q in quotas))
                if not quota.open and not quota.in_flight:
                    _merge(pools[worker], settings, quota)
        for quota in quotas:
            _merge(pools[0], settings, quota)
    return quotas


def _merge(pool: ProcessPoolExecutor, settings: CollectionSettings, quota: Quota) -> None:
    """Merge the episodes of a task into its file, in a worker, if that has not been done."""
    path = settings.path(quota.task)
    if unmerged(path).is_dir():
        submit(pool, merge, path).result()


def _line(quotas: list[Quota], quota: Quota) -> str:
    done, total = sum(q.done for q in quotas), sum(q.wanted for q in quotas)
    return (
        f"[{done}/{total}] {quota.task.suite} {quota.task.index}: {quota.done} of {quota.wanted}, "
        f"{quota.failures} failed" + (f", {quota.seconds[-1]:.1f} s" if quota.seconds else "")
    )
