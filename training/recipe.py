"""What a trainer is to the training loop: a model, samples, a loss, and measures on validation samples."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from training.config import TrainingConfig
from training.hydra_config import ConfigFiles

Batch = dict[str, Tensor]
Measures = dict[str, Any]
"""scalars; and whatever a recipe's own ``summarize`` makes scalars of"""
Config = TypeVar("Config", bound=TrainingConfig)


class Recipe(ABC, Generic[Config]):
    """A recipe's constructor makes ``model`` and says how many samples there are; the loop does the rest.

    ``training.command`` makes a command of it, ``training.trainer`` runs it.
    """

    kind: ClassVar[str]
    """of the checkpoints it makes, and the folder of its runs"""
    config_type: type[Config]
    config_files: ClassVar[ConfigFiles]
    validation_batch_size: ClassVar[int] = 32

    model: nn.Module
    num_samples: int
    num_validation_samples: int = 0

    def __init__(self, config: Config):
        self.config = config
        torch.manual_seed(config.seed)

    @abstractmethod
    def load(self, indices: np.ndarray, rng: np.random.Generator) -> Batch:
        """The training samples of these numbers, augmented; called from another thread than ``loss``."""

    @abstractmethod
    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Mean loss of ``self.model`` on a part of a batch, and further measures.

        Of those, scalars are averaged over the parts of a batch; vectors are counts, which are added up over the parts
        of a batch and over an epoch, and which ``of_counts`` makes scalars of.
        """

    @abstractmethod
    def measure(self, model: nn.Module, indices: np.ndarray, device: torch.device) -> Measures:
        """Measures of ``model`` on the validation samples of these numbers."""

    def summarize(self, parts: list[Measures]) -> dict[str, float]:
        """One number for each measure, from those of all validation batches: their mean."""
        return {name: float(np.mean([float(part[name]) for part in parts])) for name in parts[0]}

    def evaluate(self, model: nn.Module, batches: int, device: torch.device) -> dict[str, float]:
        """Measures on ``batches`` batches, spread evenly over the validation samples; empty where there are none."""
        if not self.num_validation_samples:
            return {}
        size = min(self.validation_batch_size, self.num_validation_samples)
        picks = np.linspace(0, self.num_validation_samples - 1, batches * size).astype(np.int64)
        return self.summarize([self.measure(model, indices, device) for indices in picks.reshape(batches, size)])

    def tell(self, measures: dict[str, float], prefix: str = "") -> str:
        """The measures as a person reads them, in one line or more; ``prefix`` goes before each name."""
        return " ".join(f"{prefix}{name} {value:.4g}" for name, value in measures.items())

    def of_counts(self, counts: dict[str, Tensor]) -> dict[str, float]:
        """Measures of the counts that ``loss`` gave, added up over a step or an epoch."""
        return {}

    def training_measures(self, batch: Batch) -> Measures:
        """Further measures of ``self.model``, in eval mode, on a part of a training batch; taken whenever it is told
        how training goes."""
        return {}

    def pictures(self, model: nn.Module, device: torch.device) -> dict[str, np.ndarray]:
        """What ``model`` does, as pictures (h, w, 3) uint8 by name."""
        return {}

    def parameter_groups(self) -> list[dict[str, Any]]:
        """What is trained, in groups as torch's optimisers take them: which weights decay, and how much.

        A group's ``lr_multiplier`` is the multiple of the learning rate that it trains with.
        """
        trained = [p for p in self.model.parameters() if p.requires_grad]
        return [{"params": trained, "weight_decay": self.config.weight_decay}]

    @abstractmethod
    def saved_config(self) -> dict[str, Any]:
        """What is needed to build the model again."""

    def built_on(self) -> dict[str, str]:
        """The digests of the checkpoints that it builds on, by the settings that name them.

        A resumed run must build on the same ones; where they lie does not matter.
        """
        return {}

    def text_embeddings(self) -> dict[str, Tensor]:
        """The embeddings (512,) of the instructions that it was trained on, where the model takes stored ones."""
        return {}

    def info(self) -> dict[str, Any]:
        """What else is good to know about a checkpoint."""
        return {}
