"""How the Motion VAE is trained: on windows of body motion, to give them back."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from common.errors import UserError
from demos.body_motion import body_motion_files
from tokenizer.body.data import BodyWindows, read_all, split
from tokenizer.body.linear_start import start_linear
from tokenizer.body.loss import losses
from tokenizer.body.measures import pose_errors
from tokenizer.body.model import KIND, BodyTokenizer
from tokenizer.body.options import LATENT_FRAMES, BodyConfig
from training import checkpoint
from training.config import TrainingConfig
from training.hydra_config import ConfigFiles
from training.recipe import Batch, Measures, Recipe
from training.typed_config import to_mapping


@dataclass(frozen=True, kw_only=True)
class BodyTraining(TrainingConfig):
    """The settings of a training run of the Motion VAE. The defaults are the document's."""

    model: BodyConfig = field(default_factory=BodyConfig)
    sequence_length: int = 152
    """frames of a window, a multiple of four"""
    windows: Literal["random", "first"] = "random"
    """where a window of a longer motion begins: anywhere, or, as published, at its start"""
    val_share: float = 0.1
    """of the training data, held out where there are no val_datasets"""
    split: Literal["sequence", "file"] = "sequence"
    """what is held out: whole recordings, or, as published, files: actions of one person are then on both sides"""
    start: Literal["random", "linear"] = "random"
    """random weights, as the document, or the best linear tokenizer of the training data"""
    batch_size: int = 32
    lr_schedule: Literal["cosine", "warm_cosine", "linear_cosine"] | None = "warm_cosine"
    warmup_steps: int = 1000
    weight_decay: float = 0.01
    adam_betas: tuple[float, float] = (0.9, 0.999)
    clip_grad: float = 1.0
    amp: bool = False
    val_interval: int = 500
    best_measure: str | None = "total"

    def __post_init__(self) -> None:
        if self.sequence_length < LATENT_FRAMES or self.sequence_length % LATENT_FRAMES:
            raise UserError(f"sequence_length is {self.sequence_length}; it must be a multiple of {LATENT_FRAMES}")
        if not 0 <= self.val_share < 1:
            raise UserError(f"val_share is {self.val_share}; it must be at least 0 and less than 1")


class BodyRecipe(Recipe[BodyTraining]):
    """Samples are windows of motions; the loss is of what is rebuilt, and the latents' divergence."""

    kind = KIND
    config_type = BodyTraining
    config_files = ConfigFiles(Path(__file__).parent / "config")
    model: BodyTokenizer

    def __init__(self, config: BodyTraining):
        super().__init__(config)
        files = body_motion_files(config.train_datasets)
        training, validation = read_all(files), []
        if config.val_datasets:
            validation = read_all(body_motion_files(config.val_datasets))
        else:
            by_file = config.split == "file"
            groups = [str(file) if by_file else motion.sequence for file, motion in zip(files, training, strict=True)]
            parts = split(groups, config.val_share)
            training, validation = ([training[index] for index in part] for part in parts)
        self.training = BodyWindows(training, config.sequence_length)
        self.num_samples = len(self.training)
        if validation:
            self.validation = BodyWindows(validation, config.sequence_length)
            self.num_validation_samples = len(self.validation)
        self.model = BodyTokenizer(config.model, training[0].frame_rate)
        if config.start == "linear":
            start_linear(self.model.vae, self.training.features)
        if config.init_from:
            _refuse_other_timing(config.init_from, config.model)

    def load(self, indices: np.ndarray, rng: np.random.Generator) -> Batch:
        motion, valid = self.training.windows(indices, rng if self.config.windows == "random" else None)
        return {"motion": motion, "valid": valid}

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        found = self.model.vae(batch["motion"])
        terms = losses(self.config.model, found.motion, batch["motion"], found.latents, batch["valid"])
        return terms.pop("total"), terms

    def measure(self, model: nn.Module, indices: np.ndarray, device: torch.device) -> Measures:
        """The loss's terms, and how far (mm, degrees) the body is from where it was."""
        assert isinstance(model, BodyTokenizer)
        motion, valid = (x.to(device) for x in self.validation.windows(indices))
        found = model.vae(motion)
        terms = losses(self.config.model, found.motion, motion, found.latents, valid)
        return terms | pose_errors(found.motion, motion, valid)

    def saved_config(self) -> dict[str, Any]:
        return {"model": to_mapping(self.config.model), "frame_rate": self.model.frame_rate}

    def info(self) -> dict[str, Any]:
        return {"motions": len(self.training)}


def _refuse_other_timing(path: str, config: BodyConfig) -> None:
    """Weights of another mode fit in shape and mean something else: UserError."""
    trained = checkpoint.read(path, KIND).config["model"]
    for name in ("mode", "look_ahead"):
        if trained[name] != (wanted := getattr(config, name)):
            raise UserError(f"{path} was trained with {name}={trained[name]}, which cannot go on with {name}={wanted}")
