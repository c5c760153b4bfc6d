"""Stored embeddings of instructions, in AMPLIFY's published layout: ``<suite>/text/<task>.hdf5``.

A file holds ``text_emb`` (1, d) float32 and ``text``, the instruction; where demonstration files hold ``text_emb``,
their name spells the instruction out.
"""

from pathlib import Path

import h5py
import numpy as np

from common.errors import UserError
from common.files import replacing
from demos.language import language_of


def read_text_embeddings(place: str | Path) -> dict[str, np.ndarray]:
    """The embeddings (d,) float32 by instruction; empty where there are none.

    ``place`` is a file, a folder of such files, or one above: ``place/text/*.hdf5``, ``place/<suite>/text/*.hdf5``.

    Raises:
        UserError: a file that cannot be read, or whose embedding is no row of finite numbers.
    """
    place = Path(place)
    patterns = ("*.hdf5", "text/*.hdf5", "*/text/*.hdf5")
    files = [place] if place.is_file() else [file for pattern in patterns for file in sorted(place.glob(pattern))]
    found = {}
    for path in files:
        try:
            with h5py.File(path) as file:
                if "text_emb" not in file:
                    continue
                text = file["text"].asstr()[()] if "text" in file else language_of(path.stem)
                embedding = np.asarray(file["text_emb"], np.float32)
        except (OSError, TypeError, ValueError) as error:
            raise UserError(f"{path} is not a file of a text embedding ({error}); make it again") from None
        if embedding.size != embedding.shape[-1] or not np.isfinite(embedding).all():
            raise UserError(f"{path}: text_emb {embedding.shape} must be one row of finite numbers; make it again")
        found[text] = embedding.reshape(-1)
    return found


def write_text_embedding(path: Path, text: str, embedding: np.ndarray) -> None:
    """Writes the ``embedding`` (d,) of an instruction as the file ``path``."""
    with replacing(path) as temporary, h5py.File(temporary, "w") as file:
        file["text"], file["text_emb"] = text, embedding[None].astype(np.float32)
