"""What forward and inverse dynamics train on: frames, their instructions, and the motion codes that follow them.

Codes are computed once for every frame of a dataset and kept on disk, keyed by the model and the files they come from.
"""

import hashlib
import json
from collections.abc import Callable
from itertools import groupby
from pathlib import Path

import h5py
import numpy as np
import torch
from torch import Tensor

from common.errors import UserError
from common.files import replacing
from demos.dataset import FrameDataset
from policy.forward_dynamics import ForwardConfig, ForwardDynamics
from policy.text import TEXT_DIM, PreprocessedText, WordsEncoder
from policy.vision import ResNet18, VisionConfig
from tokenizer.fsq import FSQ
from tokenizer.tracks.model import MotionTokenizer, TokenizerConfig
from tokenizer.tracks.motion import points_to_velocities
from training import checkpoint
from training.checkpoint import Checkpoint
from training.settings import from_mapping

Say = Callable[[str], None]


def load_tokenizer(path: str) -> tuple[MotionTokenizer, Checkpoint]:
    """A trained tokenizer, frozen, and the checkpoint it came from."""
    found = checkpoint.read(path, "motion_tokenizer")
    model = MotionTokenizer(from_mapping(TokenizerConfig, found.config["model"], path))
    checkpoint.load_weights(model, found)
    if model.config.per_view:
        raise UserError(f"{path} makes codes for each view apart, which forward dynamics cannot predict")
    return model.requires_grad_(False).eval(), found


def load_forward(path: str) -> tuple[ForwardDynamics, Checkpoint]:
    """Trained forward dynamics, frozen, and the checkpoint it came from."""
    found = checkpoint.read(path, "forward_dynamics")
    tokenizer = from_mapping(TokenizerConfig, found.config["tokenizer"], path)
    config = from_mapping(ForwardConfig, found.config["model"], path)
    model = ForwardDynamics(config, tokenizer, FSQ(tokenizer.hidden_dim, tokenizer.codebook_size))
    checkpoint.load_weights(model, found)
    return model.requires_grad_(False).eval(), found


def load_pretrained_vision(encoder: torch.nn.Module, config: VisionConfig) -> None:
    """Gives a frozen encoder its weights; one that trains starts from random ones."""
    if not isinstance(encoder, ResNet18):
        return
    if config.weights is None:
        raise UserError(
            "vision_encoder.weights has to name a file with pretrained resnet18 weights (.safetensors or .pth); "
            "an encoder that needs none is vision_encoder.name=small"
        )
    encoder.load_pretrained(Path(config.weights))


def prepare_texts(encoder: WordsEncoder | PreprocessedText, texts: list[str], tracks_root: str) -> Tensor:
    """What the text encoder takes, one row for each of ``texts``."""
    if isinstance(encoder, WordsEncoder):
        return encoder.prepare(texts)
    stored = {}
    for path in sorted(Path(tracks_root).glob("*/text/*.hdf5")):
        with h5py.File(path) as file:
            stored[file["text"].asstr()[()]] = np.asarray(file["text_emb"], np.float32).reshape(TEXT_DIM)
    if missing := [text for text in texts if text not in stored]:
        raise UserError(
            f"no text embedding of {missing[0]!r} in {tracks_root}/*/text; make them with "
            f"'python -m demos.preprocess mode=text', or use text_encoder.name=words"
        )
    return encoder.prepare(np.stack([stored[text] for text in texts]))


def same_episodes(frames: FrameDataset, tracks: FrameDataset) -> None:
    """Refuses two datasets whose frames do not correspond, because some episodes have no tracks."""
    if [(e.file, e.index) for e in frames.episodes] != [(e.file, e.index) for e in tracks.episodes]:
        raise UserError(
            f"{tracks.episodes_without_tracks} of {len(frames.episodes)} episodes have no tracks; make them with "
            f"'python -m demos.preprocess mode=tracks', or train inverse dynamics with code_source=forward"
        )


def tokenize(
    tracks: FrameDataset, model: MotionTokenizer, digest: str, cache: Path, device: str, say: Say
) -> np.ndarray:
    """(frames, codes) int32: the tokenizer's codes for the true motion after every frame."""

    def codes(indices: np.ndarray) -> Tensor:
        points = torch.from_numpy(tracks.frames_in_batch(indices)["tracks"]).to(device)
        return model.encode(points_to_velocities(points))[1]

    model.to(device)
    return _cached_codes(tracks, codes, f"tokenizer {digest}", cache, say)


def foresee(
    frames: FrameDataset,
    model: ForwardDynamics,
    texts: Tensor,
    digest: str,
    cache: Path,
    device: str,
    dtype: torch.dtype,
    say: Say,
) -> np.ndarray:
    """(frames, codes) int32: the codes that forward dynamics predicts (greedily) at every frame.

    With bfloat16 as ``dtype`` one code in sixteen differs from float32's, and it takes two thirds of the time.
    """
    model.to(device)
    features = model.text_encoder(texts.to(device))

    def codes(indices: np.ndarray) -> Tensor:
        images = torch.from_numpy(frames.frames_in_batch(indices)["images"]).to(device).float() / 255
        text = features[torch.from_numpy(frames.text_ids(indices)).to(device)]
        with torch.autocast(device, torch.bfloat16, enabled=dtype == torch.bfloat16):
            return model.predict(model.condition(model.vision_encoder(images, text), text))

    return _cached_codes(frames, codes, f"forward dynamics {digest} in {dtype}", cache, say)


@torch.no_grad()
def _cached_codes(
    frames: FrameDataset, codes: Callable[[np.ndarray], Tensor], source: str, cache: Path, say: Say, batch: int = 256
) -> np.ndarray:
    """Codes (frames, codes) int32 of all frames, one cache file for each demonstration file."""
    parts, done = [], 0
    for _, of_file in groupby(frames.episodes, lambda episode: episode.file):
        episodes = list(of_file)
        identity = [source, *(_fingerprint(episode.file, episode.tracks, episode.index) for episode in episodes)]
        path = cache / f"codes-{hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:24]}.npy"
        end = done + sum(episode.steps for episode in episodes)
        if not path.exists():
            say(f"codes of {source}: frame {done} of {len(frames)}")
            starts = range(done, end, batch)
            found = [
                codes(np.arange(start, min(start + batch, end))).cpu().numpy().astype(np.int32) for start in starts
            ]
            with replacing(path) as temporary, temporary.open("wb") as file:
                np.save(file, np.concatenate(found), allow_pickle=False)
        parts.append(np.load(path, allow_pickle=False))
        done = end
    return np.concatenate(parts)


def _fingerprint(demo: Path, tracks: Path, index: int) -> list[str | int]:
    """Changes whenever the files may have."""
    sizes = [(file.stat().st_size, file.stat().st_mtime_ns) if file.exists() else (0, 0) for file in (demo, tracks)]
    return [str(demo), index, *sizes[0], *sizes[1]]
