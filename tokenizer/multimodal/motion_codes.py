"""Motion codes as one more modality: what the track tokenizer says of the motion that follows a frame."""

from pathlib import Path

import numpy as np

from common.errors import UserError
from demos.roots import DataRoots
from tokenizer.tracks.encoding import codes_of_frames
from tokenizer.tracks.model import MotionTokenizer
from tokenizer.tracks.published import read_tokenizer
from tokenizer.tracks.recipe import track_frames

CODES = "codes"


class MotionCodes:
    """The codes of the frames of the demonstrations that ``spec`` chooses, by the track tokenizer of ``checkpoint``.

    Raises:
        UserError: it is none, or these demonstrations have no tracks.
    """

    def __init__(self, checkpoint: Path, spec: str, roots: DataRoots, device: str = "cpu"):
        self.name = f"motion_tokenizer {read_tokenizer(checkpoint).digest}"
        self._model = MotionTokenizer.load(checkpoint).to(device)
        self._frames = track_frames(roots, spec, self._model.config)
        self._first = {(episode.file, episode.index): episode.first_frame for episode in self._frames.episodes}

    @property
    def ids(self) -> int:
        """Codes are 0 to this, exclusively."""
        return self._model.config.actual_codebook_size

    def of(self, demonstrations: Path, episode: int, numbers: np.ndarray) -> np.ndarray:
        """(n, s) uint16 of the frames ``numbers`` (n,) of an episode.

        Raises:
            UserError: it has no tracks.
        """
        first = self._first.get((demonstrations, episode))
        if first is None:
            raise UserError(f"{demonstrations} episode {episode} has no tracks; make them, or leave out --codes")
        return codes_of_frames(self._model, self._frames, first + numbers).cpu().numpy().astype(np.uint16)
