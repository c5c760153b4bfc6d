"""How an image tokenizer is trained: on frames of videos, to give them back."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from common.errors import UserError
from tokenizer.code_usage import code_usage
from tokenizer.multimodal.canvas import SIDE, Fit, to_images, to_tensor
from tokenizer.multimodal.image_model import KIND, FsqImageTokenizer, ImageTokenizerConfig
from tokenizer.multimodal.sources import open_source, thinned_images
from training.config import TrainingConfig
from training.hydra_config import ConfigFiles
from training.recipe import Batch, Measures, Recipe
from training.typed_config import to_mapping

_DRAWN = 6
"""Images of a picture."""


@dataclass(frozen=True, kw_only=True)
class ImageTraining(TrainingConfig):
    """The settings of a training run of an image tokenizer."""

    model: ImageTokenizerConfig = field(default_factory=ImageTokenizerConfig)
    images_per_video: int = 16
    """frames, spread evenly over each video; all are kept in memory, 0.2 MB each"""
    fit: Fit = "crop"
    batch_size: int = 16
    lr: float = 2e-3
    clip_grad: float = 1.0
    amp: bool = False
    vis_interval: int = 1000

    def __post_init__(self) -> None:
        if self.images_per_video < 1:
            raise UserError(f"images_per_video is {self.images_per_video}; it must be at least 1")


class ImageRecipe(Recipe[ImageTraining]):
    """Samples are images; the loss is how far each pixel is from what it was."""

    kind = KIND
    config_type = ImageTraining
    config_files = ConfigFiles(Path(__file__).parent / "config" / "images")
    model: FsqImageTokenizer

    def __init__(self, config: ImageTraining):
        super().__init__(config)
        self.images = self._read(config.train_datasets)
        self.num_samples = len(self.images)
        if config.val_datasets:
            self.validation = self._read(config.val_datasets)
            self.num_validation_samples = len(self.validation)
        self.model = FsqImageTokenizer(config.model)

    def _read(self, datasets: tuple[str, ...]) -> np.ndarray:
        c = self.config
        sources = [open_source(name, c.demos_root) for name in datasets]
        images = [one for source in sources for one in thinned_images(source, c.images_per_video, c.fit, SIDE)]
        return np.stack(images)

    def load(self, indices: np.ndarray, rng: np.random.Generator) -> Batch:
        return {"images": to_tensor(self.images[indices])}

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        images = batch["images"]
        again, ids = self.model(images)
        codes = torch.bincount(ids.flatten(), minlength=self.model.vocab_size)
        return F.l1_loss(again, images), {"mse": F.mse_loss(again, images), "codes": codes}

    def of_counts(self, counts: dict[str, Tensor]) -> dict[str, float]:
        """How the ids are used."""
        return code_usage(counts["codes"])

    def measure(self, model: nn.Module, indices: np.ndarray, device: torch.device) -> Measures:
        """The loss, PSNR (dB) and which ids are used."""
        images = to_tensor(self.validation[indices]).to(device)
        again, ids = model(images)
        error = (again.clamp(-1, 1) - images).square().mean((1, 2, 3))
        return {"loss": F.l1_loss(again, images), "psnr": (10 * (4 / error).log10()).mean(), "codes": ids.flatten()}

    def summarize(self, parts: list[Measures]) -> dict[str, float]:
        """Means, and how the ids are used over all batches."""
        ids = torch.cat([part.pop("codes") for part in parts])
        counts = torch.bincount(ids, minlength=self.model.vocab_size)
        return super().summarize(parts) | code_usage(counts)

    def pictures(self, model: nn.Module, device: torch.device) -> dict[str, np.ndarray]:
        """Images above what becomes of them."""
        images = self.validation if self.num_validation_samples else self.images
        chosen = images[np.linspace(0, len(images) - 1, _DRAWN).astype(int)]
        again = to_images(model(to_tensor(chosen).to(device))[0])
        return {"images": np.concatenate([np.concatenate(list(row), 1) for row in (chosen, again)])}

    def saved_config(self) -> dict[str, Any]:
        return {"model": to_mapping(self.config.model)}
