"""Worker processes of a collection: a pool of one process each, on a core of its own, that ends with its parent."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

from common.cores import pin
from common.interrupts import held_back

Arguments = ParamSpec("Arguments")
Answer = TypeVar("Answer")


@contextmanager
def worker_pools(cores: list[int | None]) -> Iterator[list[ProcessPoolExecutor]]:
    """One single-process pool a worker, so that each keeps the environment of its own task."""
    pools = [worker_pool(core) for core in cores]
    try:
        yield pools
    except BaseException:
        for pool in pools:
            for process in (pool._processes or {}).values():
                process.terminate()
        raise
    finally:
        for pool in pools:
            pool.shutdown(cancel_futures=True)  # waits, so that nothing of it is left to the end of the interpreter


def worker_pool(core: int | None) -> ProcessPoolExecutor:
    """A pool of a single process, pinned to ``core`` if one is given."""
    return ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), initializer=_start, initargs=(core,))


def submit(
    pool: ProcessPoolExecutor, function: Callable[Arguments, Answer], *args: Arguments.args, **kwargs: Arguments.kwargs
) -> "Future[Answer]":
    """``pool.submit``, which starts the process with its first work and must not be interrupted in between."""
    with held_back():
        return pool.submit(function, *args, **kwargs)


def _start(core: int | None) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the main process's business.
    threading.Thread(target=_end_with_parent, daemon=True).start()
    pin(core)


def _end_with_parent() -> None:
    """A worker whose main process was killed would wait for its next episode for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
