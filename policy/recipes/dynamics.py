"""What the recipes of forward and inverse dynamics share: the tokenizer they build on, the frames they learn from."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import numpy as np

from common.errors import UserError
from demos.dataset import FrameDataset
from policy import augment
from policy.augment import AugmentConfig
from policy.recipes.models import load_tokenizer
from tokenizer.tracks.metrics import metrics_text, motion_explained
from training.config import TrainingConfig
from training.recipe import Measures, Recipe


@dataclass(frozen=True, kw_only=True)
class DynamicsTraining(TrainingConfig):
    """The settings that training runs of forward and inverse dynamics share."""

    motion_tokenizer_checkpoint: str
    frame_step: int = 1
    """learn from every n-th frame of an episode only: its neighbours look nearly alike"""
    clip_grad: float = 1.0
    augment: AugmentConfig = augment.OFF

    def __post_init__(self) -> None:
        if self.frame_step < 1:
            raise UserError(f"frame_step is {self.frame_step}; it must be at least 1")


class DynamicsData(Protocol):
    """What is known of the frames of some datasets."""

    @property
    def frames(self) -> FrameDataset: ...


Config = TypeVar("Config", bound=DynamicsTraining)
Data = TypeVar("Data", bound=DynamicsData)


def every(step: int, frames: FrameDataset) -> np.ndarray:
    """The numbers of every ``step``-th frame of each episode."""
    return np.concatenate([e.first_frame + np.arange(0, e.steps, step) for e in frames.episodes])


class DynamicsRecipe(Recipe[Config], Generic[Config, Data]):
    """Samples are frames of demonstrations, with the codes of the motion that follows them.

    ``frame_numbers`` are those of the samples; validation looks at any frame.
    """

    data: Data
    validation_data: Data

    def __init__(self, config: Config):
        super().__init__(config)
        self.tokenizer, self.tokenizer_checkpoint = load_tokenizer(config.motion_tokenizer_checkpoint)
        self.build()
        self.data = self.read(config.train_datasets)
        self.frame_numbers = every(config.frame_step, self.data.frames)
        self.num_samples = len(self.frame_numbers)
        if config.val_datasets:
            self.validation_data = self.read(config.val_datasets)
            self.num_validation_samples = len(self.validation_data.frames)

    @abstractmethod
    def build(self) -> None:
        """Makes ``model``, and what else the data are read with."""

    @abstractmethod
    def read(self, datasets: tuple[str, ...]) -> Data:
        """The data of some datasets, for training or for validation."""

    def summarize(self, parts: list[Measures]) -> dict[str, float]:
        measures = super().summarize(parts)
        return measures | motion_explained(measures)

    def tell(self, measures: dict[str, float], prefix: str = "") -> str:
        """See ``metrics_text``; those of inverse dynamics alone have no tracks, and are a line."""
        return metrics_text(measures, prefix)

    def built_on(self) -> dict[str, str]:
        return {"motion_tokenizer_checkpoint": self.tokenizer_checkpoint.digest}

    def info(self) -> dict[str, Any]:
        return {"tokenizer_digest": self.tokenizer_checkpoint.digest, **self.data.frames.origin.to_info()}
