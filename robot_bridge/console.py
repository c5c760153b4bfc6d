"""The person at the keyboard: keys that stop and reset, a line that says how it goes.

Keys are whole lines on standard input, so they work in any terminal and through a pipe.
"""

import contextlib
import os
import select
import shutil
import stat
import sys
import threading
import time
from typing import TextIO

from robot_bridge.loop import ControlLoop

KEYS = "Enter stops, r resets, q quits (each with Enter)"
REFRESH = 0.5
"""Seconds between two states of the line on a terminal."""
REPORT_EVERY = 10.0
"""Seconds between two lines where there is no terminal."""


def why_no_key(stream: TextIO | None) -> str:
    """Why nobody could press a key on ``stream``; empty when somebody can."""
    try:
        descriptor = stream.fileno() if stream is not None else -1
        kind = os.fstat(descriptor).st_mode
    except (OSError, ValueError):
        return "standard input is closed"
    if os.isatty(descriptor):
        return ""
    if not (stat.S_ISFIFO(kind) or stat.S_ISSOCK(kind)):
        return "standard input is a file or /dev/null"
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    ended = any(event & select.POLLHUP and not event & select.POLLIN for _, event in poll.poll(0))
    return "standard input has ended" if ended else ""


class Keyboard(threading.Thread):
    """Passes the operator's keys to ``loop``. When no more can come the arm is stopped, unless ``optional``."""

    def __init__(self, loop: ControlLoop, optional: bool):
        super().__init__(name="keyboard", daemon=True)
        self._loop, self._optional = loop, optional

    def run(self) -> None:
        """Until standard input ends."""
        with contextlib.suppress(OSError, ValueError):  # the terminal is gone
            for line in sys.stdin or ():
                self._press(line.strip().lower())
        if not self._optional:
            self._loop.stop("standard input has ended: there is no stop key any more")
            self._loop.quit()

    def _press(self, key: str) -> None:
        if key in ("", "s", "stop"):  # the enter key alone stops: it is the one that a hand finds
            self._loop.stop()
        elif key in ("r", "reset"):
            self._loop.reset()
        elif key in ("q", "quit"):
            self._loop.quit()


class StatusLine(threading.Thread):
    """Says on ``stream`` how the loop goes: one line that changes on a terminal, else a line now and then."""

    def __init__(self, loop: ControlLoop, stream: TextIO):
        super().__init__(name="status", daemon=True)
        self._loop, self._stream = loop, stream
        self._ended = threading.Event()

    def run(self) -> None:
        """Until ``close``."""
        live, width = self._stream.isatty(), shutil.get_terminal_size((120, 24)).columns - 1
        before, ticks = time.monotonic(), 0
        while not self._ended.wait(REFRESH if live else REPORT_EVERY):
            now, count = time.monotonic(), len(self._loop.report.late)
            rate = (count - ticks) / (now - before)
            before, ticks = now, count
            text = f"{rate:5.1f} Hz  {self._loop.status()}"
            # On a terminal the cursor goes back to the start, so that a line of the log writes over it.
            self._say(f"\r{text[:width]}\x1b[K\r" if live else f"{text}\n")
        if live:
            self._say("\x1b[K")

    def _say(self, text: str) -> None:
        with contextlib.suppress(OSError, ValueError):  # nobody looks any more
            self._stream.write(text)
            self._stream.flush()

    def close(self) -> None:
        """Leaves the line empty."""
        self._ended.set()
        if self.ident is not None:
            self.join(2)
