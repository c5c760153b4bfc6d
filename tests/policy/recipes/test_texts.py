"""Instructions as text encoders take them: hashed words, or embeddings that were stored before."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from common.errors import UserError
from policy.recipes.texts import prepare_texts
from policy.text import PreprocessedText, TextConfig, WordsEncoder


def test_stored_embeddings_are_found_by_their_text(tmp_path: Path) -> None:
    folder = tmp_path / "libero_10" / "text"
    folder.mkdir(parents=True)
    for number, text in enumerate(("open it", "close it")):
        with h5py.File(folder / f"{number}.hdf5", "w") as file:
            file["text"], file["text_emb"] = text, np.full((1, 512), number, np.float32)
    found = prepare_texts(PreprocessedText(), ["close it", "open it"], str(tmp_path))
    assert found[:, 0].tolist() == [1, 0]
    assert found.shape == (2, 512)


def test_a_missing_embedding_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no text embedding of 'open it' in .*/text; make them by"):
        prepare_texts(PreprocessedText(), ["open it"], str(tmp_path))


def test_words_need_nothing_stored(tmp_path: Path) -> None:
    encoder = WordsEncoder(TextConfig("words", width=16))
    assert prepare_texts(encoder, ["open it"], str(tmp_path)).tolist() == encoder.prepare(["open it"]).tolist()
