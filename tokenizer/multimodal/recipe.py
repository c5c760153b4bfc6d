"""How the masked model is trained: some tokens of a pair are given, some others are to be predicted."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from common.errors import UserError
from tokenizer.multimodal.dataset import TokenDataset
from tokenizer.multimodal.masking import fixed_batch, masked_batch
from tokenizer.multimodal.model import KIND, Loss, MaskedModel, by_modality, loss_of
from tokenizer.multimodal.options import MaskedModelConfig
from tokenizer.multimodal.token_budget import TokenBudget
from training.config import TrainingConfig
from training.hydra_config import ConfigFiles
from training.recipe import Batch, Measures, Recipe
from training.typed_config import to_mapping


@dataclass(frozen=True, kw_only=True)
class MaskedTraining(TrainingConfig):
    """The settings of a training run of the masked model. The defaults are the document's."""

    model: MaskedModelConfig = field(default_factory=MaskedModelConfig)
    total_tokens: float | None = 5000
    """millions of tokens after which training ends; null: as num_epochs, max_steps or max_minutes say"""
    warmup_tokens: float = 500
    """millions of tokens over which the rate rises"""
    num_tokens_per_sample: int = 256
    """that a sample counts for, whatever it has"""
    batch_size: int = 128
    gpu_max_bs: int = 128
    num_epochs: int | None = None
    lr: float = 6e-4
    min_lr: float = 1e-6
    lr_schedule: Literal["cosine", "warm_cosine", "linear_cosine"] | None = "linear_cosine"
    weight_decay: float = 0.05
    clip_grad: float = 1.0
    amp: bool = False
    best_measure: str | None = None

    def __post_init__(self) -> None:
        for name in ("total_tokens", "num_tokens_per_sample"):
            if (value := getattr(self, name)) is not None and value <= 0:
                raise UserError(f"{name} is {value}; it must be above 0")
        if self.warmup_tokens < 0:
            raise UserError(f"warmup_tokens is {self.warmup_tokens}; it must not be negative")

    def in_steps(self) -> "MaskedTraining":
        """The same with the budget of tokens as steps."""
        if self.total_tokens is None:
            return self
        budget = TokenBudget(self.total_tokens, self.warmup_tokens, self.num_tokens_per_sample, self.batch_size)
        steps = budget.steps if self.max_steps is None else min(self.max_steps, budget.steps)
        return replace(self, max_steps=steps, warmup_steps=budget.warmup_steps)


class MaskedRecipe(Recipe[MaskedTraining]):
    """Samples are pairs of frames; ``train_datasets`` are folders of tokens, of which ``train`` is trained on. Without
    ``val_datasets`` their ``eval`` is measured."""

    kind = KIND
    config_type = MaskedTraining
    config_files = ConfigFiles(Path(__file__).parent / "config" / "masked")
    validation_batch_size = 64
    model: MaskedModel

    def __init__(self, config: MaskedTraining):
        super().__init__(config := config.in_steps())
        c = config.model
        self.data = TokenDataset(config.train_datasets, "train", c)
        self.num_samples = len(self.data)
        held_out = [str(store.root) for store in self.data.stores if store.manifest()["pairs"]["eval"]]
        if roots := config.val_datasets or held_out:
            self.validation = TokenDataset(roots, "eval", c)
            self.num_validation_samples = len(self.validation)
        self.model = MaskedModel(c)

    def load(self, indices: np.ndarray, rng: np.random.Generator) -> Batch:
        return masked_batch(self.data[indices], self.config.model, [rng] * len(indices))

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        found = loss_of(self.model, batch)
        return found.loss, {name: value for name, value in found._asdict().items() if name != "loss"}

    def of_counts(self, counts: dict[str, Tensor]) -> dict[str, float]:
        """Loss and accuracy of each modality."""
        return by_modality(self.config.model, Loss(torch.zeros(()), **counts))

    def parameter_groups(self) -> list[dict[str, Any]]:
        return self.model.parameter_groups(self.config.weight_decay)

    def measure(self, model: nn.Module, indices: np.ndarray, device: torch.device) -> Measures:
        """The loss, and of each modality sums and counts. What is masked is always the same of each sample."""
        assert isinstance(model, MaskedModel)
        batch = fixed_batch(self.validation[indices], self.config.model, self.config.seed, indices)
        return loss_of(model, {name: values.to(device) for name, values in batch.items()})._asdict()

    def summarize(self, parts: list[Measures]) -> dict[str, float]:
        """The mean loss; loss and accuracy of each modality over all its targets."""
        totals = {name: torch.stack([part.pop(name) for part in parts]).sum(0) for name in ("sums", "right", "counts")}
        return super().summarize(parts) | by_modality(self.config.model, Loss(torch.zeros(()), **totals))

    def saved_config(self) -> dict[str, Any]:
        manifest = self.data.stores[0].manifest()
        made = {name: manifest[name] for name in ("image_tokenizer", "grid", "fit", "bins", "lines")}
        return {"model": to_mapping(self.config.model), "tokens": made}

    def info(self) -> dict[str, Any]:
        return {"pairs": self.num_samples}
