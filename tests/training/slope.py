"""The smallest trainer, for tests of what all trainers share."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from training.config import TrainingConfig
from training.recipe import Batch, Measures, Recipe


class SlopeRecipe(Recipe[TrainingConfig]):
    """Finds the slope of y = 3 x."""

    kind = "slope"
    config_type = TrainingConfig
    validation_batch_size = 4
    num_samples = 8

    def __init__(self, config: TrainingConfig, num_validation_samples: int = 10):
        super().__init__(config)
        self.model = nn.Linear(1, 1)
        self.num_validation_samples = num_validation_samples
        self.seen: list[int] = []

    def load(self, indices: np.ndarray, rng: np.random.Generator) -> Batch:
        return {"x": torch.from_numpy(indices).float().unsqueeze(1) / self.num_samples}

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        return (self.model(batch["x"]) - 3 * batch["x"]).square().mean(), {}

    def measure(self, model: nn.Module, indices: np.ndarray, device: torch.device) -> Measures:
        self.seen += indices.tolist()
        return {"first": indices[0], "last": torch.tensor(float(indices[-1]))}

    def saved_config(self) -> dict[str, Any]:
        return {}
