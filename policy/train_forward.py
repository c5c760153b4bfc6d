"""Trains forward dynamics: what is seen and the instruction -> the codes of the motion that follows.

  python -m policy.train_forward run_name=my_forward train_datasets='[libero_10:traj0.9]' \\
      motion_tokenizer_checkpoint=runs/motion_tokenizer/my_tokenizer/latest.safetensors
  python -m policy.train_forward --config-name forward_small ... max_minutes=60 threads=2

The true motion comes from tracks_root, as codes of the tokenizer, made once for all frames. The result is
runs/forward_dynamics/RUN_NAME/latest.safetensors; a run that was stopped continues with resume=true.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from common import cli
from demos.dataset import FrameDataset
from policy import augment, data
from policy.augment import AugmentConfig
from policy.forward_dynamics import ForwardConfig, ForwardDynamics
from tokenizer.tracks.metrics import trajectory_metrics
from tokenizer.train import track_frames
from training.hydra_config import parse
from training.trainer import Batch, Recipe, Trainer, TrainingConfig


@dataclass(frozen=True, kw_only=True)
class ForwardTraining(TrainingConfig):
    motion_tokenizer_checkpoint: str
    clip_grad: float = 1.0
    model: ForwardConfig = field(default_factory=ForwardConfig)
    augment: AugmentConfig = augment.OFF


class ForwardRecipe(Recipe):
    kind = "forward_dynamics"

    def __init__(self, config: ForwardTraining):
        self.config = config
        torch.manual_seed(config.seed)
        self.tokenizer, self.tokenizer_checkpoint = data.load_tokenizer(config.motion_tokenizer_checkpoint)
        self.model: ForwardDynamics = ForwardDynamics(config.model, self.tokenizer.config, self.tokenizer.quantize)
        data.load_pretrained_vision(self.model.vision_encoder, config.model.vision_encoder)
        self.dtype = torch.bfloat16 if config.precision == "bf16-mixed" else torch.float32
        self.frames, self.codes = self._dataset(config.train_datasets)
        self.texts = data.prepare_texts(self.model.text_encoder, self.frames.texts, config.tracks_root)
        self.num_samples = len(self.frames)
        if config.val_datasets:
            self.val_frames, self.val_codes = self._dataset(config.val_datasets)
            self.val_tracks = track_frames(config, config.val_datasets, self.tokenizer.config)
            self.val_texts = data.prepare_texts(self.model.text_encoder, self.val_frames.texts, config.tracks_root)

    def _dataset(self, datasets: tuple[str, ...]) -> tuple[FrameDataset, np.ndarray]:
        c = self.config
        frames = FrameDataset(
            datasets,
            root=c.demos_root,
            tracks_root=c.tracks_root,
            keys={"images", "text"},
            views=self.tokenizer.config.views,
        )
        tracks = track_frames(c, datasets, self.tokenizer.config)
        data.same_episodes(frames, tracks)
        digest, cache = self.tokenizer_checkpoint.digest, Path(c.runs_root) / "cache"
        return frames, data.tokenize(tracks, self.tokenizer, digest, cache, c.compute_device, print)

    def load(self, indices: np.ndarray, rng: np.random.Generator) -> Batch:
        images = augment.move_and_soften(self.frames.frames_in_batch(indices)["images"], self.config.augment, rng)
        return {
            "images": torch.from_numpy(images),
            "jitter": torch.from_numpy(augment.jitter(len(indices), self.config.augment, rng)),
            "text": self.texts[self.frames.text_ids(indices)],
            "codes": torch.from_numpy(self.codes[indices]).long(),
        }

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        images = augment.to_float(batch["images"], batch["jitter"], self.dtype)
        loss, logits = self.model(images, batch["text"], batch["codes"])
        return loss, {"code_accuracy": (logits.argmax(-1) == batch["codes"]).float().mean()}

    def evaluate(self, model: nn.Module, batches: int, device: torch.device) -> dict[str, float]:
        """Teacher-forced loss and accuracy; and how well greedily decoded tracks match the true ones."""
        if not self.config.val_datasets:
            return {}
        assert isinstance(model, ForwardDynamics)
        self.tokenizer.to(device)
        size = min(32, len(self.val_frames))
        picks = np.linspace(0, len(self.val_frames) - 1, batches * size).astype(np.int64).reshape(batches, size)
        measures = []
        for indices in picks:
            images = augment.to_float(torch.from_numpy(self.val_frames.frames_in_batch(indices)["images"]).to(device))
            text = self.val_texts[self.val_frames.text_ids(indices)].to(device)
            codes = torch.from_numpy(self.val_codes[indices]).to(device).long()
            loss, logits = model(images, text, codes)
            predicted = model.predict(model.observe(images, text))
            points = torch.from_numpy(self.val_tracks.frames_in_batch(indices)["tracks"]).to(device)
            decoded = self.tokenizer.decode_points(model.quantize.indices_to_codes(predicted), points[:, :, :1])
            measures.append(
                trajectory_metrics(decoded, points, self.tokenizer.config.img_shape)
                | {
                    "loss": loss.item(),
                    "code_accuracy": (logits.argmax(-1) == codes).float().mean().item(),
                    "greedy_code_accuracy": (predicted == codes).float().mean().item(),
                }
            )
        return {name: float(np.mean([m[name] for m in measures])) for name in measures[0]}

    def saved_config(self) -> dict[str, Any]:
        return {"model": self.config.model.to_dict(), "tokenizer": self.tokenizer.config.to_dict()}

    def info(self) -> dict[str, Any]:
        return {"tokenizer_digest": self.tokenizer_checkpoint.digest}


def main(argv: list[str]) -> None:
    config = parse(
        ForwardTraining,
        Path(__file__).parent / "config",
        "forward",
        argv,
        command="python -m policy.train_forward",
        about=__doc__ or "",
        prefix="forward",
    )
    if config is not None:
        Trainer(config, ForwardRecipe(config)).fit()


if __name__ == "__main__":
    cli.run(main)
