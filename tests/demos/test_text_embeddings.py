"""Stored embeddings of instructions: found in every folder of the published layout, refused where damaged."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from common.errors import UserError
from demos.text_embeddings import read_text_embeddings


def write(path: Path, embedding: np.ndarray, text: str | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file["text_emb"] = embedding
        if text is not None:
            file["text"] = text


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    write(tmp_path / "libero_10" / "text" / "a.hdf5", np.full((1, 4), 1.0, np.float32), "open it")
    write(tmp_path / "libero_goal" / "text" / "b.hdf5", np.full((1, 4), 2.0, np.float32), "close it")
    return tmp_path


@pytest.mark.parametrize(
    ("below", "texts"),
    [
        ("", ["open it", "close it"]),
        ("libero_10", ["open it"]),
        ("libero_10/text", ["open it"]),
        ("libero_goal/text/b.hdf5", ["close it"]),
        ("nowhere", []),
    ],
)
def test_embeddings_are_found_below_a_folder_or_in_a_file(stored: Path, below: str, texts: list[str]) -> None:
    found = read_text_embeddings(stored / below)
    assert list(found) == texts
    assert all(embedding.shape == (4,) for embedding in found.values())


def test_a_demonstration_file_with_an_embedding_is_named_after_its_instruction(tmp_path: Path) -> None:
    write(tmp_path / "KITCHEN_SCENE1_open_it_demo.hdf5", np.zeros((1, 4)))
    with h5py.File(tmp_path / "plain_demo.hdf5", "w") as file:
        file["data"] = 1
    assert list(read_text_embeddings(tmp_path)) == ["open it"]


@pytest.mark.parametrize("embedding", [np.full((1, 4), np.nan), np.zeros((2, 4)), np.zeros((1, 2, 4))])
def test_what_is_no_embedding_is_refused(tmp_path: Path, embedding: np.ndarray) -> None:
    write(tmp_path / "x.hdf5", embedding, "open it")
    with pytest.raises(UserError, match=r"x\.hdf5: text_emb .* one row of finite numbers"):
        read_text_embeddings(tmp_path)


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.hdf5").write_bytes(b"not an HDF5 file")
    with pytest.raises(UserError, match=r"x\.hdf5 is not a file of a text embedding"):
        read_text_embeddings(tmp_path)
