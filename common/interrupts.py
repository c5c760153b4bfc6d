"""Ctrl-C and SIGTERM at the wrong moment: while a child process is being started."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

INTERRUPTS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def held_back() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM wait until the block has ended; a process that it starts never hears Ctrl-C.

    An interrupt between a process's start and its entry into somebody's books would leave it behind, and whoever waits
    for it waiting. Ctrl-C goes to all processes of a terminal, and is the business of the one that started the others.
    """
    if threading.current_thread() is not threading.main_thread():  # which alone is interrupted
        yield
        return
    late: list[int] = []
    before = {number: signal.signal(number, lambda number, _: late.append(number)) for number in INTERRUPTS}
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # for the children, who inherit it
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for number, handler in before.items():
            signal.signal(number, handler)
    if late:
        signal.raise_signal(late[0])
