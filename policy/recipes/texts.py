"""The instructions of a dataset, as the text encoder of a model takes them."""

from pathlib import Path

import h5py
import numpy as np
from torch import Tensor

from common.errors import UserError
from policy.text import TEXT_DIM, PreprocessedText, WordsEncoder


def prepare_texts(encoder: WordsEncoder | PreprocessedText, texts: list[str], tracks_root: str) -> Tensor:
    """What the text encoder takes, one row for each of ``texts``; stored embeddings come from ``tracks_root``."""
    if isinstance(encoder, WordsEncoder):
        return encoder.prepare(texts)
    stored = {}
    for path in sorted(Path(tracks_root).glob("*/text/*.hdf5")):
        with h5py.File(path) as file:
            stored[file["text"].asstr()[()]] = np.asarray(file["text_emb"], np.float32).reshape(TEXT_DIM)
    if missing := [text for text in texts if text not in stored]:
        raise UserError(
            f"no text embedding of {missing[0]!r} in {tracks_root}/*/text; put an HDF5 file with 'text' and 'text_emb' "
            f"(1, {TEXT_DIM}) there for each instruction, or use model.text_encoder.name=words"
        )
    return encoder.prepare(np.stack([stored[text] for text in texts]))
