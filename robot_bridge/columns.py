"""Rows of arrays on disk that grow while they are written and may be cut off at any byte.

Each column is a raw file; how its rows look is in ``columns.json``. Only whole rows that every column has are read.
"""

import json
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

import numpy as np

INDEX = "columns.json"


class ColumnWriter:
    """Appends rows of arrays to files in ``folder``; the first row says which columns there are, and their shapes."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._open = ExitStack()  # closes every file, also when another one cannot be written any more
        self._columns: dict[str, tuple[np.dtype, tuple[int, ...], BinaryIO]] = {}

    def append(self, row: Mapping[str, np.ndarray]) -> None:
        """One row; ``OSError`` when it cannot be written."""
        if not self._columns:
            self._begin(row)
        for name, (dtype, shape, file) in self._columns.items():
            values = np.asarray(row[name], dtype)
            assert values.shape == shape, f"{name} has shape {values.shape}, in the first row it was {shape}"
            file.write(values.tobytes())

    def flush(self) -> None:
        """Hands everything to the system; a process that is killed after this loses none of it."""
        for _, _, file in self._columns.values():
            file.flush()

    def close(self) -> None:
        """Flushes and closes."""
        self._open.close()

    def _begin(self, row: Mapping[str, np.ndarray]) -> None:
        kinds = {name: (np.asarray(value).dtype, np.shape(value)) for name, value in row.items()}
        index = {name: {"dtype": dtype.str, "shape": shape} for name, (dtype, shape) in kinds.items()}
        (self._folder / INDEX).write_text(json.dumps(index))
        for name, (dtype, shape) in kinds.items():
            file = self._open.enter_context((self._folder / f"{name}.rows").open("wb"))
            self._columns[name] = dtype, shape, file


def read_columns(folder: Path) -> dict[str, np.ndarray]:
    """The columns (n, ...) as views of their files, none of it in memory; empty when there is no whole row."""
    try:
        index = json.loads((folder / INDEX).read_text())
    except (FileNotFoundError, ValueError):  # it ended before its first row
        return {}
    rows = {name: np.dtype((entry["dtype"], tuple(entry["shape"]))) for name, entry in index.items()}
    files = {name: folder / f"{name}.rows" for name in rows}
    sizes = {name: files[name].stat().st_size // rows[name].itemsize for name in rows if files[name].exists()}
    count = min(sizes.values()) if sizes.keys() == rows.keys() else 0
    if count == 0:
        return {}
    return {
        name: np.memmap(files[name], entry["dtype"], "r", shape=(count, *entry["shape"]))
        for name, entry in index.items()
    }
