"""How the track tokenizer is trained: on the point tracks of demonstrations."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from common.errors import UserError
from demos.dataset import FrameDataset
from demos.packed_tracks import PackedTracks
from demos.roots import DataRoots
from demos.spec import Mode
from tokenizer.code_usage import code_usage
from tokenizer.tracks.chosen_tracks import choose_tracks
from tokenizer.tracks.evaluation import encoder_inputs
from tokenizer.tracks.metrics import metrics_beside_still, metrics_text, motion_explained
from tokenizer.tracks.model import MotionTokenizer
from tokenizer.tracks.motion import points_to_velocities
from tokenizer.tracks.options import TokenizerConfig
from tokenizer.tracks.overlay import overlay
from training.config import TrainingConfig
from training.hydra_config import ConfigFiles
from training.recipe import Batch, Measures, Recipe

PICTURED = 4
"""Moments in a picture of the validation."""


@dataclass(frozen=True, kw_only=True)
class TokenizerTraining(TrainingConfig):
    """The settings of a training run of the track tokenizer."""

    model: TokenizerConfig = field(default_factory=TokenizerConfig)
    loss_tracks: int | None = None
    """look at the loss of this many tracks of each sample and view, drawn anew for each step, instead of all"""
    loss_moving_share: float = 0.0
    """draw this share of them from the tracks that move by a pixel or more; the loss is reweighted, so that on average
    it stays the same. Less than 1; without loss_tracks all are looked at, once each."""
    vision_weights: str | None = None
    """with model.cond_on_img: file with pretrained resnet18 weights (.safetensors or .pth)"""
    save_interval: int | None = 25
    best_measure: str | None = "loss"

    def __post_init__(self) -> None:
        if self.loss_tracks is not None and not 1 <= self.loss_tracks <= self.model.num_tracks:
            raise UserError(f"loss_tracks is {self.loss_tracks}; there are 1 to {self.model.num_tracks} to choose from")
        if not 0 <= self.loss_moving_share < 1:
            raise UserError(f"loss_moving_share is {self.loss_moving_share}; it must be at least 0 and less than 1")
        if self.model.cond_on_img and not self.vision_weights and not self.init_from:
            raise UserError(
                "cond_on_img=true needs vision_weights, a file with pretrained resnet18 weights (.safetensors or .pth)"
            )


def track_frames(
    roots: DataRoots,
    datasets: str | tuple[str, ...],
    model: TokenizerConfig,
    mode: Mode = "traj",
    with_images: bool = False,
) -> FrameDataset:
    """What the tokenizer encodes of these datasets: the tracks from every frame on, and its images if it sees any or
    they are asked for."""
    return FrameDataset(
        datasets,
        root=roots.demos,
        tracks_root=roots.tracks,
        keys={"tracks", "images"} if with_images or model.cond_on_img else {"tracks"},
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
    config_files = ConfigFiles(
        Path(__file__).parent / "config",
        aliases={
            "cond_cameraviews": "model.views",
            "loss.rel_cls_img_size": "model.rel_cls_img_size",
            "loss.loss_weights": "model.loss_weights",
        },
    )
    validation_batch_size = 16
    model: MotionTokenizer

    def __init__(self, config: TokenizerTraining):
        super().__init__(config)
        self.model = MotionTokenizer(config.model)
        if self.model.vis_enc is not None and config.vision_weights:
            self.model.vis_enc.load_pretrained(config.vision_weights)
        self.frames = track_frames(config.data_roots, config.train_datasets, config.model)
        self.tracks = self._packed(self.frames)
        self.num_samples = len(self.frames)
        if config.val_datasets:
            self.validation_frames = track_frames(config.data_roots, config.val_datasets, config.model)
            self.validation_tracks = self._packed(self.validation_frames)
            self.num_validation_samples = len(self.validation_frames)

    def _packed(self, frames: FrameDataset) -> PackedTracks:
        """The tracks of ``frames`` in one file, which all runs with the same ``runs_root`` share."""
        return PackedTracks(frames, Path(self.config.runs_root) / "cache")

    def load(self, indices: np.ndarray, rng: np.random.Generator) -> Batch:
        return self._batch(self.frames, self.tracks, indices)

    def _batch(self, frames: FrameDataset, tracks: PackedTracks, indices: np.ndarray) -> Batch:
        batch = {"tracks": torch.from_numpy(tracks.tracks_in_batch(indices))}
        if self.config.model.cond_on_img:
            batch["images"] = torch.from_numpy(frames.images_in_batch(indices))
        return batch

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        c = self.config
        points, images = encoder_inputs(batch, batch["tracks"].device)
        chosen = None
        if c.loss_tracks is not None:
            chosen = choose_tracks(points, c.loss_tracks, c.loss_moving_share, pixel=2 / max(c.model.img_shape))
        result = self.model(points, chosen, images)
        codes = torch.bincount(result.indices.flatten(), minlength=c.model.actual_codebook_size)
        return result.loss, {**result.terms, "codes": codes}

    def of_counts(self, counts: dict[str, Tensor]) -> dict[str, float]:
        """How the codes are used."""
        return code_usage(counts["codes"])

    def training_measures(self, batch: Batch) -> Measures:
        """How well the trajectories of a training batch are reconstructed, in all views together."""
        points, images = encoder_inputs(batch, batch["tracks"].device)
        measures, _ = self._reconstruction(self.model, points, images)
        of_all = {name: value for name, value in measures.items() if "/" not in name}
        return of_all | motion_explained(measures)

    def measure(self, model: nn.Module, indices: np.ndarray, device: torch.device) -> Measures:
        """How well trajectories are reconstructed; and ``codes``, the indices they were encoded to."""
        assert isinstance(model, MotionTokenizer)
        batch = self._batch(self.validation_frames, self.validation_tracks, indices)
        points, images = encoder_inputs(batch, device)
        measures, codes = self._reconstruction(model, points, images)
        return {"loss": model(points, images=images).loss, "codes": codes} | measures

    def _reconstruction(self, model: MotionTokenizer, points: Tensor, images: Tensor | None) -> tuple[Measures, Tensor]:
        """Measures of what is decoded as the config says, and the codes it is decoded from."""
        c = model.config
        codes, indices = model.encode(points_to_velocities(points), images)
        decoded = model.decode_points(codes, points[:, :, :1])
        return metrics_beside_still(decoded, points, c.img_shape, c.views), indices

    def summarize(self, parts: list[Measures]) -> dict[str, float]:
        """Means, the motion explained by all and by each view, and how the codes are used over all batches."""
        codes = torch.cat([part.pop("codes") for part in parts])
        counts = torch.bincount(codes.flatten(), minlength=self.config.model.actual_codebook_size)
        measures = super().summarize(parts)
        return measures | motion_explained(measures) | code_usage(counts)

    def tell(self, measures: dict[str, float], prefix: str = "") -> str:
        return metrics_text(measures, prefix)

    def pictures(self, model: nn.Module, device: torch.device) -> dict[str, np.ndarray]:
        """The moments with most motion among some that are spread over the validation data (else the training data):
        how it is, and how it is reconstructed."""
        assert isinstance(model, MotionTokenizer)
        c = self.config
        datasets = c.val_datasets or c.train_datasets
        frames = track_frames(c.data_roots, datasets, c.model, with_images=True)
        batch = frames.frames_in_batch(np.linspace(0, len(frames) - 1, 8 * PICTURED).astype(np.int64))
        length = np.abs(np.diff(batch["tracks"], axis=2)).sum((1, 2, 3, 4))
        most = np.sort(np.argsort(-length)[:PICTURED])
        points, images = encoder_inputs({name: batch[name][most] for name in ("tracks", "images")}, device)
        codes, _ = model.encode(points_to_velocities(points), images)
        decoded = model.decode_points(codes, points[:, :, :1])
        drawn = overlay(batch["images"][most], points.cpu().numpy(), decoded.float().cpu().numpy())
        return {"reconstruction": drawn}

    def saved_config(self) -> dict[str, Any]:
        return {"model": self.config.model.to_dict()}

    def info(self) -> dict[str, Any]:
        return self.frames.origin.to_info()
