"""Shows an evaluation while it runs: a live table in a terminal, one line an episode anywhere else."""

import time
from types import TracebackType
from typing import Self

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from sim.evaluation.results import EpisodeResult, Results, Score
from sim.libero import benchmark

ROWS_AROUND = 10
"""Terminal lines that the live table leaves to its frame and to what was printed above it."""


class LiveTable:
    """Keeps the user informed; use as a context manager around the evaluation.

    Args:
        results: what is measured so far; read, never changed.
        planned: episodes that each ``(suite, task)`` will have in the end, the ones already there included.
        console: where to show it.
    """

    def __init__(self, results: Results, planned: dict[tuple[str, int], int], console: Console) -> None:
        self._results = results
        self._planned = planned
        self._console = console
        self._total = sum(planned.values())
        self._before = len(results.episodes)
        self._started = time.perf_counter()
        self._active: list[tuple[str, int]] = []
        self._live = (
            Live(console=console, get_renderable=self._now, refresh_per_second=2) if console.is_terminal else None
        )

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.transient = True
            self._live.stop()
        if self._results.episodes:
            self._console.print(score_table(self._results, self._planned))

    def update(self, episode: EpisodeResult) -> None:
        """Tell about an episode that has just been added to the results."""
        task = (episode.suite, episode.task)
        self._active = [task, *(other for other in self._active if other != task)]
        if self._live is None:
            outcome = "broke" if episode.error else "success" if episode.success else "failure"
            self._console.print(
                f"{len(self._results.episodes)}/{self._total}  {episode.suite} task {episode.task} "
                f"episode {episode.episode}: {outcome} after {episode.steps} steps ({episode.wall_time_s:.1f} s)"
                f"  {self._speed()}",
                highlight=False, soft_wrap=True,
            )  # fmt: skip

    def _speed(self) -> str:
        played = len(self._results.episodes) - self._before
        if not played:
            return "starting"
        minutes = (time.perf_counter() - self._started) / 60
        left = (self._total - len(self._results.episodes)) * minutes / played
        return f"{played / minutes:.1f} episodes/min, {_duration(left)} left"

    def _now(self) -> Table:
        room = max(1, self._console.height - ROWS_AROUND)
        shown = None if len(self._planned) <= room else set(self._active[:room])
        table = score_table(self._results, self._planned, shown)
        progress = f"{len(self._results.episodes)}/{self._total} episodes, {self._speed()}"
        table.caption = "\n".join([*self._results.notes, progress])
        return table


def score_table(
    results: Results, planned: dict[tuple[str, int], int], shown: set[tuple[str, int]] | None = None
) -> Table:
    """One row a suite and one a task of it (all planned ones, or those in ``shown``); the suites' average and the
    results' notes below."""
    table = Table(title=results.settings.policy, box=SIMPLE_HEAD, title_justify="left", caption_justify="left")
    table.caption = "\n".join(results.notes)
    table.add_column("task")
    for heading, width in (("success", 7), ("rate", 6), ("95 %", 8), ("steps", 5), ("done", 5)):
        table.add_column(heading, justify="right", no_wrap=True, min_width=width)
    for suite in dict.fromkeys(suite for suite, _ in planned):
        tasks = [task for of, task in planned if of == suite]
        whole = _cells(results.score(suite), sum(planned[suite, task] for task in tasks))
        table.add_row(suite, *whole, style="bold")
        for task in tasks:
            if shown is None or (suite, task) in shown:
                name = Text(f"{task:2} {benchmark.task(suite, task).language}", no_wrap=True, overflow="ellipsis")
                table.add_row(name, *_cells(results.score(suite, task), planned[suite, task]))
    if results.average is not None:
        table.add_row(f"average over {len(results.suites())} suites", "", f"{results.average:.1%}", style="bold")
    return table


def _cells(score: Score, planned: int) -> tuple[str, ...]:
    done = f"{score.episodes + score.errors}/{planned}" + (f" ({score.errors} broke)" if score.errors else "")
    if score.rate is None or score.mean_steps is None:
        return "", "", "", "", done
    low, high = score.interval
    return (
        f"{score.successes}/{score.episodes}", f"{score.rate:.1%}", f"{low:.0%}-{high:.0%}", f"{score.mean_steps:.0f}",
        done,
    )  # fmt: skip


def _duration(minutes: float) -> str:
    seconds = round(minutes * 60)
    hours, seconds = divmod(seconds, 3600)
    return f"{hours}:{seconds // 60:02}:{seconds % 60:02}" if hours else f"{seconds // 60}:{seconds % 60:02}"
