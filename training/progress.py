"""What a training run tells: a live line on a terminal, plain lines elsewhere, a log file and TensorBoard scalars."""

import sys
import time
from pathlib import Path
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn
from torch import Tensor


def duration(seconds: float) -> str:
    """
    >>> duration(3725)
    '1:02:05'
    """
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}"


class Reporter:
    """``folder`` gets ``log.txt`` and TensorBoard's files; without one (all but the first process) nothing is told."""

    def __init__(self, folder: Path | None, title: str):
        self.folder, self.title = folder, title
        self._progress: Progress | None = None
        self._sums: dict[str, Tensor | float] = {}
        self._count = self._samples = self._step = 0
        self._since = time.monotonic()
        self._status = ""

    def __enter__(self) -> "Reporter":
        if self.folder is not None:
            from torch.utils.tensorboard import SummaryWriter

            self.folder.mkdir(parents=True, exist_ok=True)
            self._log = (self.folder / "log.txt").open("a")
            self._board = SummaryWriter(str(self.folder))
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
            self._board.close()

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
        for name, value in values.items():
            self._board.add_scalar(name, value, self._step)
        told = values if text is None else {name: value for name, value in values.items() if name not in extra}
        words = [f"{name} {value:.4g}" for name, value in told.items()] + ([] if text is None else [text])
        self._status = " ".join(words).partition("\n")[0]
        self.line(f"step {self._step} {self._clock} {' '.join(words)}")
        return values
