"""Merges the episodes of a task, which workers store each in a file of its own, into the task's file.

That needs neither an environment nor assets: the episodes' files have the header.
"""

import json
import shutil
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from common.files import check_room, locked
from demos.hdf5 import DemoHeader, DemoReader, DemoWriter


def unmerged(path: Path) -> Path:
    """The folder of episodes that are not yet in the file ``path``; it is there while there may be some."""
    return path.with_suffix(".parts")


def merge(path: Path) -> None:
    """Merge the episodes that are not yet in the file ``path``, if there are any.

    Raises:
        OSError: there is no room for it; the episodes stay where they are.
    """
    folder = unmerged(path)
    if not folder.is_dir():
        return
    episodes = sorted(folder.glob("demo_*.hdf5"))
    files = [file for file in (path, *episodes) if file.exists()]
    if files:
        if episodes:
            check_room(path.parent, sum(file.stat().st_size for file in files))
        DemoWriter(path, _header_of(files[-1])).finish()
    else:  # the first episode was cut off while it was written
        with locked(folder / ".lock"):
            shutil.rmtree(folder)


@contextmanager
def merged_if_interrupted(paths: Iterable[Path]) -> Iterator[None]:
    """Merge what is there of ``paths`` when Ctrl-C or SIGTERM ends the block."""
    try:
        yield
    except KeyboardInterrupt:
        print("interrupted; merging what was made (the same command goes on from there)", file=sys.stderr)
        for path in paths:
            merge(path)
        raise


def _header_of(file: Path) -> DemoHeader:
    """The header that a file of demonstrations was written with."""
    with DemoReader(file) as reader:
        attributes, language = reader.attributes, reader.language
    environment = json.loads(attributes["env_args"])
    return DemoHeader(
        language=language,
        problem_name=environment["problem_name"],
        bddl_file_name=attributes["bddl_file_name"],
        bddl_file_content=attributes["bddl_file_content"],
        env_kwargs=environment["env_kwargs"],
    )
