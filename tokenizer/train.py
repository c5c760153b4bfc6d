"""Trains a motion tokenizer on the point tracks of demonstrations.

  python -m tokenizer.train run_name=mine train_datasets='[libero_10:traj0.9]' val_datasets='[libero_10:traj-0.1]'
  python -m tokenizer.train --config-name small run_name=mine train_datasets='[libero_object:traj1]' max_minutes=20

Demonstrations are read from demos_root, tracks from tracks_root (python -m sim.collect writes both). The result is
runs/motion_tokenizer/RUN_NAME/latest.safetensors; a run that was stopped continues with resume=true.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from common import cli
from demos.dataset import FrameDataset
from demos.spec import Mode
from tokenizer.tracks.metrics import perplexity, trajectory_metrics
from tokenizer.tracks.model import MotionTokenizer, TokenizerConfig
from tokenizer.tracks.motion import points_to_velocities
from training.hydra_config import parse
from training.trainer import Batch, Recipe, Trainer, TrainingConfig


@dataclass(frozen=True, kw_only=True)
class TokenizerTraining(TrainingConfig):
    model: TokenizerConfig = field(default_factory=TokenizerConfig)
    loss_tracks: int | None = None
    """look at the loss of this many tracks, drawn anew for each step, instead of all"""


def track_frames(
    config: TrainingConfig, datasets: tuple[str, ...], model: TokenizerConfig, mode: Mode = "traj"
) -> FrameDataset:
    """The tracks of these datasets as the tokenizer wants them."""
    return FrameDataset(
        datasets,
        root=config.demos_root,
        tracks_root=config.tracks_root,
        keys={"tracks"},
        mode=mode,
        views=model.views,
        track_horizon=model.track_pred_horizon,
    )


class TokenizerRecipe(Recipe):
    kind = "motion_tokenizer"

    def __init__(self, config: TokenizerTraining):
        self.config = config
        torch.manual_seed(config.seed)
        self.model: MotionTokenizer = MotionTokenizer(config.model)
        self.frames = track_frames(config, config.train_datasets, config.model)
        self.val_frames = track_frames(config, config.val_datasets, config.model) if config.val_datasets else None
        self.num_samples = len(self.frames)

    def load(self, indices: np.ndarray, rng: np.random.Generator) -> Batch:
        return {"points": torch.from_numpy(self.frames.frames_in_batch(indices)["tracks"])}

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        points, tracks = batch["points"], None
        if self.config.loss_tracks is not None:
            tracks = torch.randperm(self.config.model.num_tracks, device=points.device)[: self.config.loss_tracks]
        loss, indices = self.model(points, tracks)
        return loss, {"codes_in_batch": torch.as_tensor(float(indices.unique().numel()))}

    def evaluate(self, model: nn.Module, batches: int, device: torch.device) -> dict[str, float]:
        if self.val_frames is None:
            return {}
        assert isinstance(model, MotionTokenizer)
        size = min(16, len(self.val_frames))
        picks = np.linspace(0, len(self.val_frames) - 1, batches * size).astype(np.int64).reshape(batches, size)
        codes_used: list[Tensor] = []
        measures: list[dict[str, float]] = []
        for indices in picks:
            points = torch.from_numpy(self.val_frames.frames_in_batch(indices)["tracks"]).to(device)
            loss, _ = model(points)
            codes, code_indices = model.encode(points_to_velocities(points))
            predicted = model.decode_points(codes, points[:, :, :1])
            found = trajectory_metrics(predicted, points, model.config.img_shape)
            still = points[:, :, :1].expand_as(points)
            found["motion_explained"] = 1 - found["mse"] / max((still - points).square().mean().item(), 1e-12)
            measures.append(found | {"loss": loss.item()})
            codes_used.append(code_indices)
        used = torch.cat(codes_used)
        mean = {name: float(np.mean([m[name] for m in measures])) for name in measures[0]}
        spread = perplexity(used, model.config.codebook_size)[0]
        return mean | {"perplexity": spread, "codes_used": float(used.unique().numel())}

    def saved_config(self) -> dict[str, Any]:
        return {"model": self.config.model.to_dict()}


def main(argv: list[str]) -> None:
    folder = Path(__file__).parent / "config"
    config = parse(TokenizerTraining, folder, "default", argv, command="python -m tokenizer.train", about=__doc__ or "")
    if config is not None:
        Trainer(config, TokenizerRecipe(config)).fit()


if __name__ == "__main__":
    cli.run(main)
