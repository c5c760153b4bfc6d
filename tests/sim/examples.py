"""A policy whose predictions are known, small clips for it, and the smallest bundle: what the tests of sim share."""

from pathlib import Path
from typing import Any

import numpy as np

from common.video import VideoWriter
from demos.origin import Origin
from policy.interface import Text
from sim.evaluation.results import EvaluationSettings

VIEWS = ("agentview", "eye_in_hand")

SETTINGS = EvaluationSettings(
    policy="expert", seed=0, execution="expert, every step", blank_codes=False, max_steps=None, settle_steps=10,
    fast_render=False, assets="0123", mujoco="3.3.2", robosuite="1.4.0",
)  # fmt: skip
"""Of an evaluation that was never played."""


class ShiftsRight:
    """Predicts that the first point moves right by three quarters of the image, and that all others stay."""

    views = VIEWS
    image_size = (32, 32)
    action_horizon = 4

    def __init__(self) -> None:
        self.returned: list[np.ndarray] = []
        self.asked: list[tuple[tuple[int, ...], str]] = []

    def act(self, images: np.ndarray, proprio: np.ndarray | None, text: Text) -> np.ndarray:
        return np.zeros((len(text), self.action_horizon, 7), np.float32)

    def predict_codes(self, images: np.ndarray, text: Text) -> tuple[np.ndarray, np.ndarray]:
        return np.tile(np.arange(15), (len(text), 1)), np.zeros((len(text), 15, 1), np.float32)

    def predict_traj(self, images: np.ndarray, init_queries: np.ndarray, text: Text) -> np.ndarray:
        self.asked.append((images.shape, str(text[0])))
        paths = np.repeat(init_queries[:, :, :1], 16, axis=2).astype(np.float32)
        paths[..., 0, :] = (0.0, -0.75)
        paths[..., 0, 1] += np.linspace(0, 1.5, 16)
        self.returned.append(paths)
        return paths

    def describe(self) -> dict[str, Any]:
        return {"name": "shifts right", "hash": "0123456789abcdef", "num_tracks": 4}


def save_video(path: Path, size: tuple[int, int], frames: int, rate: float = 20.0) -> None:
    """A gray video of ``size`` (h, w) that gets lighter with every frame."""
    writer = VideoWriter(path, rate)
    for number in range(frames):
        writer.add(np.full((*size, 3), 40 + 4 * number, np.uint8))
    writer.keep(path)


def save_untrained_bundle(path: Path, origin: Origin | None = None) -> None:
    """A whole AMPLIFY policy of the smallest size, with random weights; ``origin``: what it claims to know."""
    from policy.amplify import Amplify
    from policy.bundle import save_bundle
    from policy.forward_dynamics import ForwardConfig
    from policy.inverse_dynamics import InverseConfig
    from policy.text import TextConfig
    from policy.vision import VisionConfig
    from tokenizer.tracks.model import TokenizerConfig

    eyes = VisionConfig(name="small", image_size=64, embed_dim=16, channels=(8, 8, 8, 8), keypoints=4)
    words = TextConfig(name="words", buckets=64, width=16, num_heads=2)
    tokenizer = TokenizerConfig(num_tracks=4, hidden_dim=16, num_heads=2, codebook_size=64, decoder_mlp_hidden_dim=8)
    forward = ForwardConfig(num_layers=1, num_heads=2, vision_encoder=eyes, text_encoder=words)
    inverse = InverseConfig(num_layers=1, num_heads=2, vision_encoder=eyes, text_encoder=words)
    save_bundle(Amplify(tokenizer, forward, inverse, name="untrained", origin=origin), path)
