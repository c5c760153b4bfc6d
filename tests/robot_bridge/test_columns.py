"""Rows on disk survive being cut off at any byte: what is read is the beginning of what was written."""

import tempfile
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from robot_bridge.columns import ColumnWriter, read_columns


def write(folder: Path, count: int) -> None:
    writer = ColumnWriter(folder)
    for number in range(count):
        writer.append(
            {"time": np.float64(number), "image": np.full((2, 3), number, np.uint8), "mode": np.bytes_("run")}
        )
    writer.close()


def test_rows_come_back_with_their_types_and_shapes(tmp_path):
    write(tmp_path, 5)
    columns = read_columns(tmp_path)
    np.testing.assert_array_equal(columns["time"], np.arange(5.0))
    assert columns["image"].shape == (5, 2, 3)
    assert columns["image"].dtype == np.uint8
    assert columns["mode"].tolist() == [b"run"] * 5


@given(count=st.integers(1, 6), column=st.sampled_from(["time", "image", "mode"]), lost=st.integers(1, 50))
def test_what_is_cut_off_is_missing_in_every_column(count: int, column: str, lost: int):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(folder, count)
        file = folder / f"{column}.rows"
        row = file.stat().st_size // count
        file.write_bytes(file.read_bytes()[:-lost])
        whole = max(0, (row * count - lost) // row)
        columns = read_columns(folder)
        assert {len(values) for values in columns.values()} == ({whole} if whole else set())
        if whole:
            np.testing.assert_array_equal(columns["image"][:, 0, 0], np.arange(whole))


def test_before_the_first_row_there_is_nothing(tmp_path):
    assert read_columns(tmp_path) == {}
    write(tmp_path, 1)
    (tmp_path / "columns.json").write_text('{"time": {"dty')
    assert read_columns(tmp_path) == {}
