"""Files that many processes share: atomic writes, locks that die with their holder, handles that survive a fork."""

import errno
import fcntl
import hashlib
import os
import shutil
import tempfile
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; when the block ends well, it becomes ``path`` in one atomic step.

    When the block raises, the temporary file is removed and ``path`` stays as it was. What a killed process leaves
    behind is a hidden ``.NAME.tmp``, which the next write of the same file overwrites.

    Raises:
        OSError: the disk is full, or ``path`` may not be written; its ``filename`` is ``path``.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.tmp")
    with _errors_of(path, temporary):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            with open(temporary, "rb") as written:
                os.fsync(written.fileno())
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def fingerprint(path: Path) -> tuple[str, int, int]:
    """Name, size and time of change of a file, which change whenever its content may have; 0 where there is none."""
    if not path.exists():
        return str(path), 0, 0
    found = path.stat()
    return str(path), found.st_size, found.st_mtime_ns


def digest_of(path: Path) -> str:
    """sha256 of a file, first 16 hex digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def nearest_existing(path: str | Path) -> Path:
    """``path``, or the nearest folder above it that is there."""
    path = Path(path).absolute()
    return next(parent for parent in (path, *path.parents) if parent.exists())


def check_room(folder: str | Path, size: int) -> None:
    """Refuse to begin writing ``size`` bytes below ``folder`` where they do not fit.

    HDF5 does not survive a full disk: it complains without end, and may crash when its files are closed.

    Raises:
        OSError: they do not fit (``ENOSPC``); its ``filename`` is ``folder``.
    """
    if shutil.disk_usage(nearest_existing(folder)).free < size:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))


def check_writable(folder: str | Path) -> None:
    """Write a little into ``folder``, or where it would be made if it is not there; nothing of it stays.

    Raises:
        OSError: that is not possible; its ``filename`` is ``folder``.
    """
    try:
        with tempfile.TemporaryFile(dir=nearest_existing(folder)) as file:
            file.write(bytes(4096))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(folder)) from error


@contextmanager
def _errors_of(path: Path, temporary: Path) -> Iterator[None]:
    """Let errors of writing name ``path``: a full disk names no file, others name the temporary one."""
    try:
        yield
    except OSError as error:
        if error.errno is None or error.filename not in (None, str(temporary)):
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


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
        except PermissionError:  # somebody else has made it, in a folder for both: reading is enough for a lock
            handle = open(path)  # noqa: SIM115
        fcntl.flock(handle, fcntl.LOCK_EX)
        if path.exists() and os.path.samestat(os.fstat(handle.fileno()), path.stat()):
            break
        handle.close()
    try:
        yield
    finally:
        handle.close()


class Closable(Protocol):
    """Anything with ``close()``."""

    def close(self) -> None: ...


Reader = TypeVar("Reader", bound=Closable)


class OpenFiles(Generic[Reader]):
    """Keeps the ``limit`` most recently used files open; a forked or unpickled copy opens them anew.

    HDF5 handles must not be shared between processes.
    """

    def __init__(self, opener: Callable[[Path], Reader], limit: int) -> None:
        self._opener, self._limit = opener, limit
        self._process = os.getpid()
        self._open: OrderedDict[Path, Reader] = OrderedDict()

    def open(self, path: Path) -> Reader:
        """The reader of ``path``, valid until ``limit`` others have been asked for."""
        if self._process != os.getpid():
            self._process, self._open = os.getpid(), OrderedDict()
        if path not in self._open:
            self._open[path] = self._opener(path)
            if len(self._open) > self._limit:
                self._open.popitem(last=False)[1].close()
        self._open.move_to_end(path)
        return self._open[path]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": OrderedDict()}
