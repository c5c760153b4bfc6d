"""Single key presses, without Enter, from a terminal or from whatever is piped in.

A terminal echoes nothing while they are read, and is as it was afterwards; Ctrl-C stays what it is.
"""

import contextlib
import os
import queue
import select
import termios
import threading
import tty
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

ENDED = "ended"
"""The press that says that no more will come."""
_SEQUENCES = {
    b"\x1b[A": "up",
    b"\x1b[B": "down",
    b"\x1b[C": "right",
    b"\x1b[D": "left",
    b"\x1b[5~": "page up",
    b"\x1b[6~": "page down",
}
_NAMES = {"\n": "enter", "\r": "enter", " ": "space", "\x7f": "backspace", "\x08": "backspace", "\x1b": "escape"}


class KeyPresses:
    """Reads ``descriptor`` in a thread of its own, as a context manager.

    Presses wait in a line for ``next``; where ``during`` names a listener, it hears of them at once instead.
    """

    def __init__(self, descriptor: int):
        self._descriptor = descriptor
        self._line: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._listener: Callable[[str], None] = self._line.put
        self._before: list[Any] | None = None
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._read, name="keys", daemon=True)

    def next(self, seconds: float | None = None) -> str | None:
        """The next press: a character, or enter, space, up, down, left, right, page up, page down, backspace, escape,
        or ``ENDED``; None when there is none within ``seconds``."""
        try:
            return self._line.get(timeout=seconds)
        except queue.Empty:
            return None

    def forget(self) -> None:
        """Drops the presses that wait: what was meant for something else must not start the arm."""
        with contextlib.suppress(queue.Empty):
            while True:
                if self._line.get_nowait() == ENDED:
                    self._line.put(ENDED)
                    return

    def put(self, key: str) -> None:
        """As if ``key`` had been pressed."""
        self._listener(key)

    @contextlib.contextmanager
    def during(self, listener: Callable[[str], None]) -> Any:
        """Gives presses to ``listener``, in the reading thread, while the context lasts."""
        self._listener = listener
        try:
            yield
        finally:
            self._listener = self._line.put

    def __enter__(self) -> Self:
        if os.isatty(self._descriptor):
            self._before = termios.tcgetattr(self._descriptor)
            tty.setcbreak(self._descriptor)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.set()
        self._thread.join(2)
        if self._before is not None:
            with contextlib.suppress(termios.error):  # the terminal is gone
                termios.tcsetattr(self._descriptor, termios.TCSADRAIN, self._before)

    def _read(self) -> None:
        while not self._closing.is_set():
            if not select.select([self._descriptor], [], [], 0.1)[0]:
                continue
            try:
                data = os.read(self._descriptor, 1024)
            except OSError:  # the terminal is gone
                data = b""
            if not data:
                listener = self._listener
                listener(ENDED)
                if listener != self._line.put:
                    self._line.put(ENDED)  # for whoever asks afterwards
                return
            for key in presses(data):
                self._listener(key)


def presses(data: bytes) -> list[str]:
    """What a terminal sends, as names of keys.

    >>> presses(b"a\\x1b[A\\x1b[5~ \\n")
    ['a', 'up', 'page up', 'space', 'enter']
    """
    found = []
    while data:
        for sequence, name in _SEQUENCES.items():
            if data.startswith(sequence):
                found.append(name)
                data = data[len(sequence) :]
                break
        else:
            text = data[:1].decode("latin-1")
            found.append(_NAMES.get(text, text))
            data = data[1:]
    return found
