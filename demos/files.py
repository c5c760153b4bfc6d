"""Writing files so that a reader never sees half of one, and a killed writer never spoils what was there."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; when the block ends well, it becomes ``path`` in one atomic step.

    When the block raises, the temporary file is removed and ``path`` stays as it was. What a killed process leaves
    behind is a hidden ``.NAME.tmp``, which the next write of the same file overwrites.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        yield temporary
        with open(temporary, "rb") as written:
            os.fsync(written.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextmanager
def locked(path: str | Path) -> Iterator[None]:
    """Hold the exclusive lock that the file ``path`` stands for; the system releases it when the process dies.

    Whoever holds the lock may delete the file: those who waited on the deleted one notice and queue up anew.
    """
    path = Path(path)
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            handle = open(path, "a")  # noqa: SIM115 - closed below; closing is what releases the lock
        except FileNotFoundError:  # the holder removed the folder between the two lines above
            continue
        fcntl.flock(handle, fcntl.LOCK_EX)
        if path.exists() and os.path.samestat(os.fstat(handle.fileno()), path.stat()):
            break
        handle.close()
    try:
        yield
    finally:
        handle.close()
