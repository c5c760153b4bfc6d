"""The instructions of a dataset, as the text encoder of a model takes them."""

import numpy as np
from torch import Tensor

from common.errors import UserError
from demos.text_embeddings import read_text_embeddings
from policy.text import TEXT_DIM, PreprocessedText, TextEncoder


def prepare_texts(encoder: TextEncoder, texts: list[str], tracks_root: str) -> Tensor:
    """What the text encoder takes, one row for each of ``texts``; stored embeddings come from ``tracks_root``."""
    if not isinstance(encoder, PreprocessedText):
        return encoder.prepare(texts)
    stored = read_text_embeddings(tracks_root)
    if missing := [text for text in texts if text not in stored]:
        raise UserError(
            f"no text embedding of {missing[0]!r} in {tracks_root}/*/text; make them by 'python -m demos.preprocess "
            f"mode=text', put an HDF5 file with 'text' and 'text_emb' (1, {TEXT_DIM}) there for each instruction, or "
            "use model.text_encoder.name=words"
        )
    return encoder.prepare(np.stack([stored[text] for text in texts]))


def trained_embeddings(encoder: TextEncoder | None, texts: list[str], prepared: Tensor) -> dict[str, Tensor]:
    """The ``prepared`` rows (texts, 512) by their text, for checkpoints; empty where the encoder reads words itself."""
    return dict(zip(texts, prepared, strict=True)) if isinstance(encoder, PreprocessedText) else {}
