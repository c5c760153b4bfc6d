"""A recipe that keeps account of what the loop does with it."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from training.config import TrainingConfig
from training.recipe import Batch, Measures, Recipe

SAMPLES, BATCH = 12, 8


class CountingRecipe(Recipe[TrainingConfig]):
    """Counts the samples that it is trained on, and is measured by a given series of losses."""

    kind = "counting"
    num_samples = SAMPLES
    num_validation_samples = 1
    losses = (3.0, 1.0, 2.0, float("nan"))

    def __init__(self, config: TrainingConfig):
        super().__init__(config)
        self.model = nn.Linear(1, 1)
        self.validations = 0

    def load(self, indices: np.ndarray, rng: np.random.Generator) -> Batch:
        return {"number": torch.from_numpy(indices)}

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        number = batch["number"]
        loss = (self.model(number.float().unsqueeze(1)) - 1).square().mean()
        return loss, {"samples": torch.bincount(number, minlength=SAMPLES), "mean": number.float().mean()}

    def of_counts(self, counts: dict[str, Tensor]) -> dict[str, float]:
        samples = counts["samples"]
        return {"drawn": float(samples.sum()), "different": float((samples > 0).sum())}

    def training_measures(self, batch: Batch) -> Measures:
        assert not self.model.training
        return {"seen": float(len(batch["number"]))}

    def measure(self, model: nn.Module, indices: np.ndarray, device: torch.device) -> Measures:
        self.validations += 1
        return {"loss": self.losses[(self.validations - 1) % len(self.losses)]}

    def pictures(self, model: nn.Module, device: torch.device) -> dict[str, np.ndarray]:
        return {"grey": np.full((4, 4, 3), 128, np.uint8)}

    def saved_config(self) -> dict[str, Any]:
        return {}
