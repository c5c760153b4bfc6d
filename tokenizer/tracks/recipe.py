"""How the track tokenizer is trained: on the point tracks of demonstrations."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from demos.dataset import FrameDataset
from demos.spec import Mode
from tokenizer.tracks.metrics import metrics_beside_still, metrics_text, motion_explained, perplexity
from tokenizer.tracks.model import MotionTokenizer, TokenizerConfig
from tokenizer.tracks.motion import points_to_velocities
from training.config import TrainingConfig
from training.hydra_config import ConfigFiles
from training.recipe import Batch, Measures, Recipe


@dataclass(frozen=True, kw_only=True)
class TokenizerTraining(TrainingConfig):
    """The settings of a training run of the track tokenizer."""

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


class TokenizerRecipe(Recipe[TokenizerTraining]):
    """Samples are the tracks that start at a frame; the loss is the tokenizer's own."""

    kind = "motion_tokenizer"
    config_type = TokenizerTraining
    config_files = ConfigFiles(Path(__file__).parent / "config")
    validation_batch_size = 16
    model: MotionTokenizer

    def __init__(self, config: TokenizerTraining):
        super().__init__(config)
        self.model = MotionTokenizer(config.model)
        self.frames = track_frames(config, config.train_datasets, config.model)
        self.num_samples = len(self.frames)
        if config.val_datasets:
            self.validation_frames = track_frames(config, config.val_datasets, config.model)
            self.num_validation_samples = len(self.validation_frames)

    def load(self, indices: np.ndarray, rng: np.random.Generator) -> Batch:
        return {"points": torch.from_numpy(self.frames.frames_in_batch(indices)["tracks"])}

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        points, tracks = batch["points"], None
        if self.config.loss_tracks is not None:
            tracks = torch.randperm(self.config.model.num_tracks, device=points.device)[: self.config.loss_tracks]
        loss, indices = self.model(points, tracks)
        return loss, {"codes_in_batch": torch.as_tensor(float(indices.unique().numel()))}

    def measure(self, model: nn.Module, indices: np.ndarray, device: torch.device) -> Measures:
        """How well trajectories are reconstructed; and ``codes``, the indices they were encoded to."""
        assert isinstance(model, MotionTokenizer)
        points = torch.from_numpy(self.validation_frames.frames_in_batch(indices)["tracks"]).to(device)
        loss, _ = model(points)
        codes, code_indices = model.encode(points_to_velocities(points))
        reconstructed = model.decode_points(codes, points[:, :, :1])
        c = model.config
        measures: Measures = {"loss": loss, "codes": code_indices}
        return measures | metrics_beside_still(reconstructed, points, c.img_shape, c.views)

    def summarize(self, parts: list[Measures]) -> dict[str, float]:
        """Means; and how many codes are used over all batches, how evenly."""
        codes = torch.cat([part.pop("codes") for part in parts])
        spread, _ = perplexity(codes, self.config.model.codebook_size)
        measures = super().summarize(parts)
        measures |= {"perplexity": spread, "codes_used": float(codes.unique().numel())}
        return measures | motion_explained(measures)

    def tell(self, measures: dict[str, float], prefix: str = "") -> str:
        return metrics_text(measures, prefix)

    def saved_config(self) -> dict[str, Any]:
        return {"model": self.config.model.to_dict()}

    def info(self) -> dict[str, Any]:
        return self.frames.origin.to_info()
