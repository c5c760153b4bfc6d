"""What a training run tells: a live line on a terminal, plain lines elsewhere, a log file, curves and pictures."""

import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn
from torch import Tensor

from training.config import TrainingConfig
from training.curves import Curves


def duration(seconds: float) -> str:
    """
    >>> duration(3725)
    '1:02:05'
    """
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}"


class Reporter:
    """``folder`` gets ``log.txt`` and what ``Curves`` writes; without one (all but the first process) nothing is told.

    ``first_step`` is the step that the run goes on from.
    """

    def __init__(self, config: TrainingConfig, folder: Path | None, title: str, first_step: int = 0):
        self.config, self.folder, self.title = config, folder, title
        self._progress: Progress | None = None
        self._sums: dict[str, Tensor | float] = {}
        self._count = self._samples = 0
        self._step = first_step
        self._since = time.monotonic()
        self._status = self._clock = ""

    def __enter__(self) -> "Reporter":
        if self.folder is not None:
            self._curves = Curves(self.config, self.folder, self._step)
            self._log = (self.folder / "log.txt").open("a")
            console = Console(stderr=True)
            if console.is_terminal:
                columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
                self._progress = Progress(*columns, TextColumn("{task.fields[status]}"), console=console)
                self._bar = self._progress.add_task(self.title, total=1.0, status="")
                self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._progress is not None:
            self._progress.stop()
        if self.folder is not None:
            self._log.close()
            self._curves.close()

    def line(self, text: str) -> None:
        """One line to the terminal or stderr, and into the log."""
        if self.folder is None:
            return
        if self._progress is not None:
            self._progress.console.print(text, highlight=False)
        else:
            print(text, file=sys.stderr, flush=True)
        self._log.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}\n")
        self._log.flush()

    def step(
        self, step: int, progress: float, elapsed: float, samples: int, loss: Tensor, metrics: dict[str, Tensor]
    ) -> None:
        """Takes note of one training step; ``log`` tells the means since it was last called."""
        for name, value in {"loss": loss, **metrics}.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
        self._step, self._count, self._samples = step, self._count + 1, self._samples + samples
        remaining = elapsed / progress * (1 - progress) if progress else 0.0
        self._clock = f"{duration(elapsed)} ETA {duration(remaining)}"
        if self._progress is not None:
            status = f"step {step} {self._clock} {self._status}"
            self._progress.update(self._bar, completed=progress, status=status)

    def log(self, extra: dict[str, float], text: str | None = None) -> dict[str, float]:
        """Tells the means of the steps since the last call, and ``extra``, and returns both.

        ``text`` is how ``extra`` is written; without it as names and values in the same line.
        """
        values: dict[str, float] = {name: float(value) / self._count for name, value in self._sums.items()}
        if self._count:
            values["samples_per_second"] = self._samples / (time.monotonic() - self._since)
        values |= extra
        self._sums, self._count, self._samples, self._since = {}, 0, 0, time.monotonic()
        if self.folder is None:
            return values
        self._curves.scalars(values, self._step)
        told = values if text is None else {name: value for name, value in values.items() if name not in extra}
        words = [*filter(None, [_words(told)]), *([] if text is None else [text])]
        self._status = " ".join(words).partition("\n")[0]
        self.line(f"step {self._step} {self._clock} {' '.join(words)}")
        return values

    def tell(self, values: Mapping[str, float]) -> None:
        """Tells values of their own, beside the means of steps."""
        if self.folder is None:
            return
        self._curves.scalars(values, self._step)
        self.line(f"step {self._step} {self._clock} {_words(values)}")

    def pictures(self, pictures: Mapping[str, np.ndarray]) -> None:
        """Shows (h, w, 3) uint8 pictures of the present step by name."""
        if self.folder is None:
            return
        for path in self._curves.pictures(pictures, self._step):
            self.line(f"step {self._step} drew {path}")


def _words(values: Mapping[str, float]) -> str:
    return " ".join(f"{name} {value:.4g}" for name, value in values.items())
