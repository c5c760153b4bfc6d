"""How the joint tokenizer is trained: on windows of motions, to give them back."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tokenizer.code_usage import code_usage
from tokenizer.joints.clips import Windows, read_clips
from tokenizer.joints.codes import counts_of
from tokenizer.joints.features import Columns
from tokenizer.joints.linear_start import start_linear
from tokenizer.joints.model import KIND, JointTokenizer
from tokenizer.joints.options import FeatureConfig, JointTokenizerConfig
from training.config import TrainingConfig
from training.hydra_config import ConfigFiles
from training.recipe import Batch, Measures, Recipe
from training.typed_config import to_mapping

_DISTANCES = {"l1_smooth": F.smooth_l1_loss, "l1": F.l1_loss, "l2": F.mse_loss}


@dataclass(frozen=True, kw_only=True)
class JointTraining(TrainingConfig):
    """The settings of a training run of the joint tokenizer. The defaults are the document's."""

    model: JointTokenizerConfig = field(default_factory=JointTokenizerConfig)
    frame_rate: float | None = None
    """frames a second that motions are brought to; null: the first one's"""
    motions: str | None = None
    """which motions of the training data: numbers and ranges (0,2,5-12) or names; null: all"""
    start: Literal["random", "linear"] = "random"
    """random weights, as the document, or the best linear tokenizer of the training data"""
    gpu_max_bs: int = 256
    num_epochs: int | None = None
    max_steps: int | None = 11_000
    """with the warm-up, which the document's total_iter leaves out"""
    warmup_steps: int = 1000
    lr: float = 2e-4
    lr_milestones: tuple[int, ...] = (51_000, 101_000)
    adam_betas: tuple[float, float] = (0.9, 0.99)
    amp: bool = False
    best_measure: str | None = None


class Loss(NamedTuple):
    """The loss of a batch, its terms, and what the batch became."""

    loss: Tensor
    terms: dict[str, Tensor]
    perplexity: Tensor
    indices: Tensor
    rebuilt: Tensor


def loss_of(model: JointTokenizer, x: Tensor) -> Loss:
    """Of normalised windows (b, t, d): of what is rebuilt, of its differences in time, and the quantizer's."""
    c = model.config
    rebuilt, quantized = model.vqvae(x)
    distance = _DISTANCES[c.recons_loss]
    recon, velocity = distance(rebuilt, x), distance(rebuilt.diff(dim=1), x.diff(dim=1))
    loss = recon + c.loss_vel * velocity + c.commit * (quantized.commitment + quantized.codebook)
    terms = {"recon": recon, "velocity": velocity, "commitment": quantized.commitment}
    return Loss(loss, terms, quantized.perplexity, quantized.indices, rebuilt)


class JointRecipe(Recipe[JointTraining]):
    """Samples are windows of motions; the loss is of what is rebuilt, of how it moves, and the quantizer's."""

    kind = KIND
    config_type = JointTraining
    config_files = ConfigFiles(
        Path(__file__).parent / "config",
        aliases={name: f"model.features.{name}" for name in FeatureConfig.__dataclass_fields__},
    )
    validation_batch_size = 256
    model: JointTokenizer

    def __init__(self, config: JointTraining):
        super().__init__(config)
        c = config.model
        clips = read_clips(config.train_datasets, config.demos_root, c, config.frame_rate, config.motions)
        self.clips = len(clips)
        self.joints, rate = clips[0].motion.joints.shape[1], clips[0].motion.frame_rate
        self.windows = Windows(clips, c)
        self.num_samples = len(self.windows)
        self.model = JointTokenizer(c, self.windows.frames.shape[1], rate)
        self.model.normalise_by(self.windows.frames)
        if config.start == "linear":
            start_linear(self.model.vqvae.encoder, self.model.vqvae.decoder, self.model.normalised(self.windows.frames))
        if config.val_datasets:
            self.validation = Windows(read_clips(config.val_datasets, config.demos_root, c, rate), c)
            self.num_validation_samples = len(self.validation)

    def load(self, indices: np.ndarray, rng: np.random.Generator) -> Batch:
        return {"motion": self.windows[indices]}

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        found = loss_of(self.model, self.model.normalised(batch["motion"]))
        codes = counts_of(self.model, found.indices)
        return found.loss, {**found.terms, "perplexity": found.perplexity, "codes": codes}

    def of_counts(self, counts: dict[str, Tensor]) -> dict[str, float]:
        """How the codes are used."""
        return code_usage(counts["codes"])

    def measure(self, model: nn.Module, indices: np.ndarray, device: torch.device) -> Measures:
        """The loss's terms, how far (rad) joints are from where they were, and ``codes``."""
        assert isinstance(model, JointTokenizer)
        motion = self.validation[indices].to(device)
        found = loss_of(model, model.normalised(motion))
        joints = Columns.of(model.config.features, self.joints).joints
        wrong = (model.restored(found.rebuilt) - motion)[..., joints]
        return {"loss": found.loss, **found.terms, "joint_rmse": wrong.square().mean(), "codes": found.indices}

    def summarize(self, parts: list[Measures]) -> dict[str, float]:
        """Means, the root of the mean square, and how the codes are used over all batches."""
        codes = torch.cat([part.pop("codes") for part in parts])
        measures = super().summarize(parts)
        measures["joint_rmse"] **= 0.5
        return measures | code_usage(counts_of(self.model, codes))

    def saved_config(self) -> dict[str, Any]:
        return {
            "model": to_mapping(self.model.config),
            "features": len(self.model.mean),
            "frame_rate": self.model.frame_rate,
        }

    def info(self) -> dict[str, Any]:
        return {"clips": self.clips, "joints": self.joints}
