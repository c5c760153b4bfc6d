"""Shared files: all or nothing when written, one holder of a lock at a time, handles never shared by a fork."""

import errno
import multiprocessing
import os
import tempfile
from pathlib import Path

import pytest

from common.files import OpenFiles, check_room, check_writable, locked, replacing


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


def test_an_error_of_writing_names_the_file_and_not_the_temporary_one(tmp_path: Path) -> None:
    (tmp_path / ".taken.tmp").mkdir()
    with pytest.raises(IsADirectoryError) as caught, replacing(tmp_path / "taken") as temporary:
        temporary.write_text("new")
    assert caught.value.filename == str(tmp_path / "taken")


def test_other_errors_of_the_block_are_left_alone(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        write_half(tmp_path / "results.json")
    assert caught.value.filename == "no such file"


def test_a_folder_that_can_be_written_or_made_is_left_as_it_was(tmp_path: Path) -> None:
    check_writable(tmp_path)
    check_writable(tmp_path / "not" / "there")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError) as caught:
        check_writable(tmp_path / "file" / "folder")
    assert caught.value.filename == str(tmp_path / "file" / "folder")


def test_what_does_not_fit_is_not_begun(tmp_path: Path) -> None:
    check_room(tmp_path, 1)
    check_room(tmp_path / "not" / "there", 1)
    with pytest.raises(OSError, match="No space left on device") as caught:
        check_room(tmp_path, 2**60)
    assert caught.value.errno == errno.ENOSPC


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become somebody else")
def test_a_lock_that_somebody_else_has_made_can_be_held_in_a_folder_for_both() -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o777)
        lock = Path(folder) / ".lock"
        lock.touch(0o644)
        os.seteuid(65534)
        try:
            with locked(lock):
                lock.unlink()  # the holder may
        finally:
            os.seteuid(0)


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
