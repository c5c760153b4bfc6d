"""Where demonstrations and their point tracks lie, and the options of commands that name these folders."""

from argparse import ArgumentParser, Namespace
from dataclasses import dataclass
from pathlib import Path
from typing import Self


@dataclass(frozen=True)
class DataRoots:
    """``demos`` has a folder of HDF5 files for each data set, ``tracks`` one of track files."""

    demos: str | Path = "data/demos"
    tracks: str | Path = "data/tracks"

    @classmethod
    def add_options(cls, parser: ArgumentParser, tracks: bool = True) -> None:
        """``--demos-root`` and, for commands that read ``tracks``, ``--tracks-root``."""
        for name, default in [("demos", cls.demos), ("tracks", cls.tracks)][: 1 + tracks]:
            parser.add_argument(f"--{name}-root", default=default, metavar="DIR", help=f"default {default}")

    @classmethod
    def of_options(cls, options: Namespace) -> Self:
        """What was said on the command line."""
        return cls(options.demos_root, options.tracks_root)
