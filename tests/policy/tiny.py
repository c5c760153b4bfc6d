"""A tiny policy, a tiny data set, and settings with which every trainer runs on it in seconds."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from common.conventions import VIEWS
from demos.hdf5 import DemoHeader, DemoWriter, Episode
from demos.tracks import Tracks, TrackWriter, track_folder
from policy.amplify import Amplify
from policy.forward_dynamics import ForwardConfig
from policy.inverse_dynamics import InverseConfig
from policy.text import TextConfig
from policy.vision import VisionConfig
from tokenizer.tracks.model import TokenizerConfig

SIZE, TRACKS = 32, 16
ASSETS = "0123456789abcdef"
"""The digest of the assets that the demonstrations claim to be rendered with."""


def make_policy(
    text: str = "words",
    forward: Mapping[str, Any] | None = None,
    inverse: Mapping[str, Any] | None = None,
    film: bool = True,
    **options: Any,
) -> Amplify:
    """A policy with random weights; ``text`` names its text encoder, words or preprocessed; ``forward`` and ``inverse``
    are options of these models, ``film`` whether their vision encoders read the instruction."""
    torch.manual_seed(0)
    tokenizer = TokenizerConfig(
        num_tracks=TRACKS,
        img_shape=(SIZE, SIZE),
        hidden_dim=32,
        num_heads=2,
        codebook_size=64,
        decoder_mlp_hidden_dim=16,
    )
    vision = VisionConfig("small", SIZE, embed_dim=16, channels=(8, 8), keypoints=4, film=film)
    encoders = {"vision_encoder": vision, "text_encoder": TextConfig(text, buckets=64, width=16)}  # type: ignore[arg-type]
    of_forward = ForwardConfig(1, 2, **encoders, **(forward or {}))
    of_inverse = InverseConfig(num_layers=1, num_heads=2, cond_on_text=True, **encoders, **(inverse or {}))
    return Amplify(tokenizer, of_forward, of_inverse, **options)


def make_data(
    root: Path,
    tasks: int = 2,
    episodes: int = 2,
    steps: int = 20,
    with_tracks: bool = True,
    phases: np.ndarray | None = None,
) -> None:
    """Writes ``root/demos`` and ``root/tracks``: random images and actions, points that drift with the actions."""
    rng = np.random.default_rng(0)
    for task in range(tasks):
        header = DemoHeader(
            f"open drawer number {task}",
            "libero_floor_manipulation",
            f"libero_10/task_{task}.bddl",
            {"assets_digest": ASSETS},
        )
        path = root / "demos" / "tiny" / f"task_{task}_demo.hdf5"
        writer = DemoWriter(path, header)
        tracks = TrackWriter(track_folder(root / "tracks", "tiny", path))
        for _ in range(episodes):
            index = writer.append(replace(_episode(steps, rng), phases=phases))
            if with_tracks:
                tracks.write(index, {view: _tracks(steps, rng) for view in VIEWS}, (SIZE, SIZE))
        writer.finish()


def _episode(steps: int, rng: np.random.Generator) -> Episode:
    def images() -> np.ndarray:
        return rng.integers(0, 256, (steps, SIZE, SIZE, 3), dtype=np.uint8)

    return Episode(
        actions=rng.uniform(-1, 1, (steps, 7)),
        states=rng.normal(size=(steps, 3)),
        robot_states=rng.normal(size=(steps, 9)),
        rewards=np.zeros(steps, np.uint8),
        dones=np.zeros(steps, np.uint8),
        agentview_rgb=images(),
        eye_in_hand_rgb=images(),
        joint_states=rng.normal(size=(steps, 7)),
        gripper_states=rng.normal(size=(steps, 2)),
        ee_pos=rng.normal(size=(steps, 3)),
        ee_ori=rng.normal(size=(steps, 3)),
    )


def _tracks(steps: int, rng: np.random.Generator) -> Tracks:
    start = rng.uniform(8, SIZE - 8, (steps, 1, TRACKS, 2))
    drift = rng.normal(0, 1, (steps, 1, 1, 2)) * np.arange(16)[:, None, None]
    return Tracks((start + drift).astype(np.float32), np.ones((steps, 16, TRACKS), np.float32))


def common(root: Path, run: str = "tiny", **settings: object) -> list[str]:
    """Overrides that all three trainers take."""
    values = {
        "run_name": run,
        "train_datasets": "[tiny:traj1.0:action1.0]",
        "val_datasets": "[tiny:traj-0.5:action-0.5]",
        "demos_root": root / "demos",
        "tracks_root": root / "tracks",
        "runs_root": root / "runs",
        "batch_size": 8,
        "gpu_max_bs": 4,
        "max_steps": 4,
        "max_minutes": "null",
        "warmup_steps": 1,
        "val_batches": 1,
        "log_interval": 2,
        "accelerator": "cpu",
        "threads": 1,
    }
    return [f"{name}={value}" for name, value in (values | settings).items()]


def tokenizer_overrides() -> list[str]:
    model = {
        "num_tracks": TRACKS,
        "img_shape": f"[{SIZE},{SIZE}]",
        "hidden_dim": 32,
        "num_heads": 2,
        "codebook_size": 64,
        "decoder_mlp_hidden_dim": 16,
    }
    return ["--config-name=small", "loss_tracks=8", *(f"model.{name}={value}" for name, value in model.items())]


def dynamics_overrides(kind: str) -> list[str]:
    """``kind``: forward or inverse."""
    model = {
        "num_layers": 1,
        "num_heads": 2,
        "vision_encoder.image_size": SIZE,
        "vision_encoder.channels": "[8,8]",
        "vision_encoder.embed_dim": 16,
        "vision_encoder.keypoints": 4,
        "text_encoder.width": 16,
        "text_encoder.buckets": 64,
    }
    return [f"--config-name={kind}_small", *(f"model.{name}={value}" for name, value in model.items())]


def latest(root: Path, kind: str, run: str = "tiny") -> Path:
    return root / "runs" / kind / run / "latest.safetensors"
