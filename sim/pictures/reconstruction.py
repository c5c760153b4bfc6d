"""Shows what a motion tokenizer keeps: held-out motion, and the same motion encoded into codes and decoded again."""

from pathlib import Path

import cv2
import numpy as np
import torch

from demos.dataset import FrameDataset
from sim.pictures.inputs import resize
from sim.pictures.overlay import draw_tracks, moving
from tokenizer.tracks.metrics import trajectory_metrics
from tokenizer.tracks.model import MotionTokenizer
from tokenizer.tracks.motion import points_to_velocities
from training import checkpoint

SIDE, GAP = 192, 8
"""Pixels: of a panel, and between panels."""


def reconstructions(path: Path, count: int = 4) -> list[tuple[np.ndarray, str]]:
    """Pictures (h, w, 3) uint8 of ``count`` moments with the most motion among some held-out ones, each with a caption.

    Every view takes two panels: true motion left, what the tokenizer at ``path`` makes of it right.

    Raises:
        UserError: not a tokenizer, or the data that it was validated (else trained) with are not on this machine.
    """
    saved = checkpoint.read(path, "motion_tokenizer")
    model = MotionTokenizer.load(path)
    training = saved.config["training"]
    frames = FrameDataset(
        training["val_datasets"] or training["train_datasets"],
        root=training["demos_root"],
        tracks_root=training["tracks_root"],
        keys={"images", "tracks", "text"},
        mode="traj",
        views=model.config.views,
        track_horizon=model.config.track_pred_horizon,
    )
    candidates = np.unique(np.linspace(0, len(frames) - 1, 4 * count).astype(int))
    batch = frames.frames_in_batch(candidates)
    points = torch.from_numpy(batch["tracks"])
    with torch.inference_mode():
        codes, _ = model.encode(points_to_velocities(points))
        decoded = model.decode_points(codes, points[:, :, :1])
    motion = points_to_velocities(points).abs().mean((1, 2, 3, 4))
    pictures = []
    for row in sorted(motion.argsort(descending=True)[:count].tolist()):
        metrics = trajectory_metrics(decoded[row : row + 1], points[row : row + 1], model.config.img_shape)
        caption = (
            f"{frames.texts[batch['text_ids'][row]]}: true, decoded of each view; mse {metrics['mse']:.4f}, "
            f"dAUC {metrics['delta_auc']:.3f}, moving F1 {metrics['nonzero_pred_f1']:.2f}"
        )
        pictures.append((_picture(batch["images"][row], (points[row], decoded[row]), model.config.img_shape), caption))
    return pictures


def png(picture: np.ndarray) -> bytes:
    """``picture`` (h, w, 3) RGB as a PNG file."""
    return cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))[1].tobytes()


def _picture(images: np.ndarray, motions: tuple[torch.Tensor, torch.Tensor], size: tuple[int, int]) -> np.ndarray:
    panels = []
    for view, image in enumerate(images):
        for motion in motions:
            points = motion[view].numpy()
            panels.append(draw_tracks(resize(image, SIDE), points[:, moving(points, size)]))
            panels.append(np.full((SIDE, GAP, 3), 255, np.uint8))
    return np.concatenate(panels[:-1], axis=1)
