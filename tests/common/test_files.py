"""Shared files: all or nothing when written, one holder of a lock at a time, handles never shared by a fork."""

import multiprocessing
from pathlib import Path

import pytest

from common.files import OpenFiles, locked, replacing


def write_half(path: Path) -> None:
    with replacing(path) as temporary:
        temporary.write_text("half of the n")
        Path("no such file").read_text()


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "results.json"
    with replacing(path) as temporary:
        temporary.write_text("old")
    with pytest.raises(FileNotFoundError):
        write_half(path)
    assert path.read_text() == "old"
    assert [file.name for file in path.parent.iterdir()] == ["results.json"]


def count_up(path: Path, times: int) -> None:
    for _ in range(times):
        with locked(path.with_name(".lock")):
            path.write_text(str(int(path.read_text()) + 1))
            path.with_name(".lock").unlink()  # the holder may; the others must notice


def test_one_process_at_a_time_holds_a_lock(tmp_path: Path) -> None:
    counter = tmp_path / "counter"
    counter.write_text("0")
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=count_up, args=(counter, 100)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert counter.read_text() == "300"


class Recorder:
    """A reader that only remembers whether it was closed."""

    def __init__(self, path: Path) -> None:
        self.path, self.closed = path, False

    def close(self) -> None:
        self.closed = True


def test_the_least_recently_used_file_is_closed() -> None:
    files = OpenFiles(Recorder, limit=2)
    one, two = files.open(Path("1")), files.open(Path("2"))
    assert files.open(Path("1")) is one
    files.open(Path("3"))
    assert two.closed
    assert not one.closed
