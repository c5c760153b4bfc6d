"""Keeps count of a collection: what each task still needs, which seed comes next, and where a worker goes."""

from dataclasses import dataclass, field

from sim.collection.recording import CollectionSettings, Outcome, stored_seeds
from sim.libero import benchmark
from sim.suites import SUITES

MAX_FAILURES_IN_A_ROW = 20
"""A task on which the expert fails this often running is given up."""

OF_TAKEOVERS = 500_000
"""Added to the seeds of takeovers."""


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

    @classmethod
    def resumed(cls, settings: CollectionSettings, task: benchmark.Task, wanted: int, seed: int) -> "Quota":
        """The quota of a task as its files have it: goes on after the highest seed that was used.

        Args:
            wanted: demonstrations in the end; more that are there already are kept.
            seed: of the whole collection; every task has its own thousand below it, and another for takeovers, so that
                a policy is never put where it was trained.
        """
        first = seed * 1_000_000 + SUITES.index(task.suite) * 100_000 + task.index * 1_000
        if settings.takeover is not None:
            first += OF_TAKEOVERS
        used = [first if stored is None else stored for stored in stored_seeds(settings.path(task))]
        return cls(task, max(wanted, len(used)), len(used), max(used, default=first - 1) + 1)

    def record(self, outcome: Outcome) -> None:
        """Count an attempt."""
        self.seconds.append(outcome.seconds)
        if outcome.success:
            self.done += 1
            self.failures_in_a_row = 0
        else:
            self.failures += 1
            self.failures_in_a_row += 1


def next_quota(quotas: list[Quota], at_work: dict[int, Quota | None], worker: int) -> Quota | None:
    """A worker stays with its task, and then takes the one furthest behind that no other worker is at.

    Args:
        at_work: the quota that each worker served last.
    """
    own = at_work[worker]
    if own is not None and own.open:
        return own
    others = [quota for other, quota in at_work.items() if other != worker]
    waiting = [quota for quota in quotas if quota.open]
    return min(waiting, key=lambda quota: (quota in others, quota.done)) if waiting else None
