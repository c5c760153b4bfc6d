"""Motion codes of whole datasets: computed once for every frame and kept on disk.

The cache is keyed by the model that made the codes and by the files that they were made from.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from common.errors import UserError
from common.files import fingerprint, replacing
from demos.dataset import FrameDataset
from demos.tracks import HOW_TO_GET_TRACKS
from policy.forward_dynamics import ForwardDynamics
from tokenizer.tracks.encoding import codes_of_frames
from tokenizer.tracks.model import MotionTokenizer
from training.config import TrainingConfig

CodesOf = Callable[[np.ndarray], Tensor]
"""frame numbers (b,) -> indices (b, codes)"""


@dataclass(frozen=True)
class CodeCache:
    """Keeps codes in ``folder``; computes the ones that are missing on ``device`` and says so."""

    folder: Path
    device: str

    @classmethod
    def of(cls, config: TrainingConfig) -> "CodeCache":
        """The cache that all runs with the same ``runs_root`` share."""
        return cls(Path(config.runs_root) / "cache", config.compute_device)

    def encode(self, tracks: FrameDataset, model: MotionTokenizer, digest: str) -> np.ndarray:
        """(frames, codes) int32: the tokenizer's codes for the true motion after every frame."""

        model.to(self.device)
        return self._codes(tracks, partial(codes_of_frames, model, tracks), f"tokenizer {digest}")

    def predict(
        self, frames: FrameDataset, model: ForwardDynamics, texts: Tensor, digest: str, dtype: torch.dtype
    ) -> np.ndarray:
        """(frames, codes) int32: the codes that forward dynamics predicts (greedily) at every frame.

        ``texts`` are the prepared instructions of the dataset. With bfloat16 as ``dtype`` one code in sixteen differs
        from float32's, and it takes two thirds of the time.
        """
        model.to(self.device)
        features = model.text_encoder(texts.to(self.device))

        def codes(indices: np.ndarray) -> Tensor:
            images = torch.from_numpy(frames.frames_in_batch(indices)["images"]).to(self.device).float() / 255
            text = features[torch.from_numpy(frames.text_ids(indices)).to(self.device)]
            with torch.autocast(self.device, torch.bfloat16, enabled=dtype == torch.bfloat16):
                return model.predict(model.condition(model.vision_encoder(images, text), text))

        return self._codes(frames, codes, f"forward dynamics {digest} in {dtype}")

    @torch.no_grad()
    def _codes(self, frames: FrameDataset, codes: CodesOf, source: str, batch: int = 256) -> np.ndarray:
        """Codes (frames, codes) int32 of all frames, one cache file for each demonstration file."""
        parts, done = [], 0
        for _, of_file in groupby(frames.episodes, lambda episode: episode.file):
            episodes = list(of_file)
            made_from = [
                [episode.index, *fingerprint(episode.file), *fingerprint(episode.tracks)] for episode in episodes
            ]
            identity = [source, *made_from]
            path = self.folder / f"codes-{hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:24]}.npy"
            end = done + sum(episode.steps for episode in episodes)
            if not path.exists():
                print(f"codes of {source}: frame {done} of {len(frames)}")
                starts = range(done, end, batch)
                found = [
                    codes(np.arange(start, min(start + batch, end))).cpu().numpy().astype(np.int32) for start in starts
                ]
                with replacing(path) as temporary, temporary.open("wb") as file:
                    np.save(file, np.concatenate(found), allow_pickle=False)
            parts.append(np.load(path, allow_pickle=False))
            done = end
        return np.concatenate(parts)


def check_same_episodes(frames: FrameDataset, tracks: FrameDataset) -> None:
    """Refuses two datasets whose frames do not correspond, because some episodes have no tracks."""
    if [(e.file, e.index) for e in frames.episodes] != [(e.file, e.index) for e in tracks.episodes]:
        raise UserError(
            f"{tracks.episodes_without_tracks} of {len(frames.episodes)} episodes have no tracks; {HOW_TO_GET_TRACKS}; "
            f"inverse dynamics needs none with code_source=forward"
        )
