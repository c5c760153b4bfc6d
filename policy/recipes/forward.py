"""How forward dynamics is trained: on the tokenizer's codes for the motion that follows each frame."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from demos.dataset import FrameDataset
from policy import augment
from policy.forward_dynamics import ForwardConfig, ForwardDynamics
from policy.forward_measures import forward_measures
from policy.recipes.code_cache import CodeCache, check_same_episodes
from policy.recipes.dynamics import DynamicsRecipe, DynamicsTraining
from policy.recipes.models import load_pretrained_text, load_pretrained_vision, parameter_groups
from policy.recipes.texts import prepare_texts, trained_embeddings
from tokenizer.tracks.recipe import track_frames
from training.hydra_config import ConfigFiles
from training.recipe import Batch, Measures


@dataclass(frozen=True, kw_only=True)
class ForwardTraining(DynamicsTraining):
    """The settings of a training run of forward dynamics."""

    model: ForwardConfig = field(default_factory=ForwardConfig)


@dataclass(frozen=True)
class ForwardData:
    """Frames, the tracks from each of them on, these as codes (frames, codes), and the prepared instructions."""

    frames: FrameDataset
    tracks: FrameDataset
    codes: np.ndarray
    texts: Tensor


class ForwardRecipe(DynamicsRecipe[ForwardTraining, ForwardData]):
    """Samples are images, instruction and the true codes; the loss is that of teacher forcing."""

    kind = "forward_dynamics"
    config_type = ForwardTraining
    config_files = ConfigFiles(
        Path(__file__).parent / "config",
        default="forward",
        prefix="forward",
        aliases={
            "forward_dynamics.motion_tokenizer.checkpoint": "motion_tokenizer_checkpoint",
            "forward_dynamics.transformer.n_layer": "model.num_layers",
            "forward_dynamics.transformer.n_head": "model.num_heads",
            "forward_dynamics.transformer.dropout": "model.dropout",
        },
    )
    model: ForwardDynamics

    def build(self) -> None:
        c = self.config.model
        c = replace(c, vision_encoder=c.vision_encoder.resolved(), text_encoder=c.text_encoder.resolved())
        self.model = ForwardDynamics(c, self.tokenizer.config, self.tokenizer.quantize)
        load_pretrained_vision(self.model.vision_encoder, c.vision_encoder)
        load_pretrained_text(self.model.text_encoder, c.text_encoder)

    def parameter_groups(self) -> list[dict[str, Any]]:
        return parameter_groups(self.model, self.config.model.vision_encoder, self.config.weight_decay)

    def read(self, datasets: tuple[str, ...]) -> ForwardData:
        c = self.config
        views = self.tokenizer.config.views
        frames = FrameDataset(
            datasets, root=c.demos_root, tracks_root=c.tracks_root, keys={"images", "text"}, views=views
        )
        tracks = track_frames(c.data_roots, datasets, self.tokenizer.config)
        check_same_episodes(frames, tracks)
        codes = CodeCache.of(c).encode(tracks, self.tokenizer, self.tokenizer_checkpoint.digest)
        return ForwardData(frames, tracks, codes, prepare_texts(self.model.text_encoder, frames.texts, c.tracks_root))

    def load(self, indices: np.ndarray, rng: np.random.Generator) -> Batch:
        data, indices = self.data, self.frame_numbers[indices]
        images = data.frames.images_in_batch(indices)
        return {
            "images": torch.from_numpy(images),
            **augment.draw(len(indices), images.shape[1], self.config.augment, rng),
            "text": data.texts[data.frames.text_ids(indices)],
            "codes": torch.from_numpy(data.codes[indices]).long(),
        }

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        images = augment.augmented(batch, self.config.input_dtype)
        loss, logits = self.model(images, batch["text"], batch["codes"])
        return loss, {
            "teacher_forced_code_accuracy": (self.model.unembed.likeliest(logits) == batch["codes"]).float().mean()
        }

    def measure(self, model: nn.Module, indices: np.ndarray, device: torch.device) -> Measures:
        """See ``forward_measures``."""
        assert isinstance(model, ForwardDynamics)
        self.tokenizer.to(device)
        data = self.validation_data
        images = augment.to_float(torch.from_numpy(data.frames.images_in_batch(indices)).to(device))
        text = data.texts[data.frames.text_ids(indices)].to(device)
        codes = torch.from_numpy(data.codes[indices]).to(device).long()
        points = torch.from_numpy(data.tracks.tracks_in_batch(indices)).to(device)
        return dict(forward_measures(model, self.tokenizer, model.encode(images, text), points, codes))

    def saved_config(self) -> dict[str, Any]:
        return {"model": self.model.config.to_dict(), "tokenizer": self.tokenizer.config.to_dict()}

    def text_embeddings(self) -> dict[str, Tensor]:
        return trained_embeddings(self.model.text_encoder, self.data.frames.texts, self.data.texts)
