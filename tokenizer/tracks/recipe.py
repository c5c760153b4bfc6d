"""How the track tokenizer is trained: on the point tracks of demonstrations."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from common.errors import UserError
from demos.dataset import FrameDataset
from demos.spec import Mode
from tokenizer.tracks.chosen_tracks import choose_tracks
from tokenizer.tracks.metrics import code_usage, metrics_beside_still, metrics_text, motion_explained
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
    """look at the loss of this many tracks of each sample and view, drawn anew for each step, instead of all"""
    loss_moving_share: float = 0.0
    """draw this share of them from the tracks that move by a pixel or more; the loss is reweighted, so that on average
    it stays the same. Less than 1."""

    def __post_init__(self) -> None:
        if self.loss_tracks is not None and not 1 <= self.loss_tracks <= self.model.num_tracks:
            raise UserError(f"loss_tracks is {self.loss_tracks}; there are 1 to {self.model.num_tracks} to choose from")
        if not 0 <= self.loss_moving_share < 1:
            raise UserError(f"loss_moving_share is {self.loss_moving_share}; it must be at least 0 and less than 1")
        if self.loss_moving_share and self.loss_tracks is None:
            raise UserError("loss_moving_share needs loss_tracks, the number of tracks that a step looks at")


def track_frames(
    config: TrainingConfig, datasets: tuple[str, ...], model: TokenizerConfig, mode: Mode = "traj"
) -> FrameDataset:
    """What the tokenizer encodes of these datasets: the tracks from every frame on, and its images if it sees any."""
    return FrameDataset(
        datasets,
        root=config.demos_root,
        tracks_root=config.tracks_root,
        keys={"tracks", "images"} if model.cond_on_img else {"tracks"},
        mode=mode,
        views=model.views,
        action_horizon=model.true_horizon,
        track_horizon=model.track_pred_horizon,
        interpolation=model.interp_method,
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
        c = self.config
        points, chosen = batch["points"], None
        if c.loss_tracks is not None:
            pixel = 2 / max(c.model.img_shape)
            chosen = choose_tracks(points, c.loss_tracks, c.loss_moving_share, pixel)
        result = self.model(points, chosen)
        return result.loss, {**result.terms, "codes_in_batch": torch.as_tensor(float(result.indices.unique().numel()))}

    def measure(self, model: nn.Module, indices: np.ndarray, device: torch.device) -> Measures:
        """How well trajectories are reconstructed; and ``codes``, the indices they were encoded to."""
        assert isinstance(model, MotionTokenizer)
        points = torch.from_numpy(self.validation_frames.frames_in_batch(indices)["tracks"]).to(device)
        loss = model(points).loss
        codes, code_indices = model.encode(points_to_velocities(points))
        reconstructed = model.decode_points(codes, points[:, :, :1])
        c = model.config
        measures: Measures = {"loss": loss, "codes": code_indices}
        return measures | metrics_beside_still(reconstructed, points, c.img_shape, c.views)

    def summarize(self, parts: list[Measures]) -> dict[str, float]:
        """Means; and how many codes are used over all batches, how evenly."""
        codes = torch.cat([part.pop("codes") for part in parts])
        counts = torch.bincount(codes.flatten(), minlength=self.config.model.actual_codebook_size)
        measures = super().summarize(parts)
        return measures | motion_explained(measures) | code_usage(counts)

    def tell(self, measures: dict[str, float], prefix: str = "") -> str:
        return metrics_text(measures, prefix)

    def saved_config(self) -> dict[str, Any]:
        return {"model": self.config.model.to_dict()}

    def info(self) -> dict[str, Any]:
        return self.frames.origin.to_info()
