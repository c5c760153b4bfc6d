"""Trains inverse dynamics: motion codes, and what is seen and felt now -> actions.

  python -m policy.train_inverse run_name=my_inverse train_datasets='[libero_10:action0.9]' \\
      motion_tokenizer_checkpoint=runs/motion_tokenizer/my_tokenizer/latest.safetensors \\
      forward_dynamics_checkpoint=runs/forward_dynamics/my_forward/latest.safetensors
  python -m policy.train_inverse --config-name inverse_small ... max_minutes=60 threads=2

code_source says whose codes it sees: the tokenizer's (true motion), those that forward dynamics predicts, as at run
time, or mixed. They are made once for all frames. The result is runs/inverse_dynamics/RUN_NAME/latest.safetensors; a
run that was stopped continues with resume=true.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from common import cli
from common.errors import UserError
from demos.dataset import FrameDataset
from policy import augment, data
from policy.augment import AugmentConfig
from policy.inverse_dynamics import InverseConfig, InverseDynamics
from policy.kinematics import panda_hand_pose
from policy.waypoints import displacements, next_changes
from tokenizer.train import track_frames
from training.hydra_config import parse
from training.trainer import Batch, Recipe, Trainer, TrainingConfig


@dataclass(frozen=True, kw_only=True)
class InverseTraining(TrainingConfig):
    motion_tokenizer_checkpoint: str
    forward_dynamics_checkpoint: str | None = None
    code_source: Literal["tokenizer", "forward", "mixed"] = "forward"
    """whose codes condition the actions; mixed: for each sample one or the other, at random"""
    code_dropout: float = 0.0
    """part of the samples whose codes are blanked"""
    pad_actions: Literal["zero", "repeat", "mask"] = "zero"
    """targets past the end of an episode: zeros, the last action, or none"""
    num_epochs: int | None = 250
    gpu_max_bs: int = 256
    clip_grad: float = 1.0
    model: InverseConfig = field(default_factory=InverseConfig)
    augment: AugmentConfig = augment.OFF

    def __post_init__(self) -> None:
        if self.code_source != "tokenizer" and self.forward_dynamics_checkpoint is None:
            source = self.code_source
            raise UserError(f"code_source={source} needs forward_dynamics_checkpoint=...; or use code_source=tokenizer")


class InverseRecipe(Recipe):
    kind = "inverse_dynamics"

    def __init__(self, config: InverseTraining):
        self.config = config
        torch.manual_seed(config.seed)
        self.tokenizer, self.tokenizer_checkpoint = data.load_tokenizer(config.motion_tokenizer_checkpoint)
        self.model: InverseDynamics = InverseDynamics(config.model, self.tokenizer.config)
        if self.model.vision_encoder is not None:
            data.load_pretrained_vision(self.model.vision_encoder, config.model.vision_encoder)
        self.dtype = torch.bfloat16 if config.precision == "bf16-mixed" else torch.float32
        self.frames, self.codes = self._dataset(config.train_datasets)
        self.texts, self.waypoints = self._texts(self.frames), self._waypoints(self.frames)
        self.num_samples = len(self.frames)
        if config.val_datasets:
            self.val_frames, self.val_codes = self._dataset(config.val_datasets)
            self.val_texts, self.val_waypoints = self._texts(self.val_frames), self._waypoints(self.val_frames)
        if config.model.cond_on_proprio and config.model.normalize_proprio:
            self.model.set_proprio_statistics(torch.from_numpy(self.frames.proprio))

    def _texts(self, frames: FrameDataset) -> Tensor:
        if self.model.text_encoder is None:
            return torch.zeros(len(frames.texts), 0)
        return data.prepare_texts(self.model.text_encoder, frames.texts, self.config.tracks_root)

    def _waypoints(self, frames: FrameDataset) -> Tensor:
        """The displacements (frames, k, 9) from the hand to its next waypoints."""
        episode = frames.episode_of(np.arange(len(frames)))
        ahead = next_changes(frames.actions[:, -1] > 0, episode, self.config.model.waypoints)
        poses = panda_hand_pose(torch.from_numpy(frames.proprio[:, :7]))
        return displacements(poses[torch.from_numpy(ahead)], poses)

    def _dataset(self, datasets: tuple[str, ...]) -> tuple[FrameDataset, np.ndarray]:
        """Frames, and the codes (sources, frames, codes) to choose from."""
        c = self.config
        frames = FrameDataset(
            datasets,
            root=c.demos_root,
            tracks_root=c.tracks_root,
            keys={"images", "proprio", "actions", "text"},
            views=self.tokenizer.config.views,
            action_horizon=c.model.action_horizon,
        )
        cache, sources = Path(c.runs_root) / "cache", []
        if c.code_source in ("tokenizer", "mixed"):
            tracks = track_frames(c, datasets, self.tokenizer.config, mode="action")
            data.same_episodes(frames, tracks)
            digest = self.tokenizer_checkpoint.digest
            sources.append(data.tokenize(tracks, self.tokenizer, digest, cache, c.compute_device, print))
        if c.code_source in ("forward", "mixed"):
            assert c.forward_dynamics_checkpoint is not None
            forward, found = data.load_forward(c.forward_dynamics_checkpoint)
            if found.info["tokenizer_digest"] != self.tokenizer_checkpoint.digest:
                raise UserError(
                    f"{found.path} was trained with another tokenizer than {self.tokenizer_checkpoint.path}; "
                    f"use the one it was trained with"
                )
            texts = data.prepare_texts(forward.text_encoder, frames.texts, c.tracks_root)
            device = c.compute_device
            sources.append(data.foresee(frames, forward, texts, found.digest, cache, device, self.dtype, print))
        return frames, np.stack(sources)

    def load(self, indices: np.ndarray, rng: np.random.Generator) -> Batch:
        c = self.config
        frames = self.frames.frames_in_batch(indices)
        chosen = rng.integers(len(self.codes), size=len(indices))
        actions, mask = pad(frames["actions"], frames["action_mask"], c.pad_actions)
        return {
            "images": torch.from_numpy(augment.move_and_soften(frames["images"], c.augment, rng)),
            "jitter": torch.from_numpy(augment.jitter(len(indices), c.augment, rng)),
            "text": self.texts[frames["text_ids"]],
            "proprio": torch.from_numpy(frames["proprio"]),
            "codes": torch.from_numpy(self.codes[chosen, indices]),
            "keep_codes": torch.from_numpy(rng.random(len(indices)) >= c.code_dropout),
            "actions": torch.from_numpy(actions),
            "mask": torch.from_numpy(mask),
            "waypoints": self.waypoints[torch.from_numpy(indices)],
        }

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        images = augment.to_float(batch["images"], batch["jitter"], self.dtype)
        codes = self._codes(batch["codes"]) * batch["keep_codes"][:, None, None]
        actions, mask = batch["actions"], batch["mask"]
        loss, predicted, missed = self.model(
            images, batch["text"], batch["proprio"], codes, actions, mask.float(), batch["waypoints"]
        )
        return loss, action_measures(predicted, actions, mask) | waypoint_measures(missed)

    def evaluate(self, model: nn.Module, batches: int, device: torch.device) -> dict[str, float]:
        """Loss and errors with the codes of run time (forward dynamics' where there are any); loss without codes."""
        if not self.config.val_datasets:
            return {}
        size = min(32, len(self.val_frames))
        picks = np.linspace(0, len(self.val_frames) - 1, batches * size).astype(np.int64).reshape(batches, size)
        measures = []
        for indices in picks:
            frames = {
                name: torch.from_numpy(x).to(device) for name, x in self.val_frames.frames_in_batch(indices).items()
            }
            images, text = augment.to_float(frames["images"]), self.val_texts[frames["text_ids"].cpu()].to(device)
            codes = self._codes(torch.from_numpy(self.val_codes[-1, indices]).to(device))
            actions, mask = frames["actions"], frames["action_mask"]
            waypoints = self.val_waypoints[torch.from_numpy(indices)].to(device)
            seen, wanted = (images, text, frames["proprio"]), (actions, mask.float(), waypoints)
            loss, predicted, missed = model(*seen, codes, *wanted)
            blank, *_ = model(*seen, torch.zeros_like(codes), *wanted)
            found = {
                "loss": loss,
                "loss_without_codes": blank,
                **action_measures(predicted, actions, mask),
                **waypoint_measures(missed),
            }
            measures.append({name: float(value) for name, value in found.items()})
        return {name: float(np.mean([m[name] for m in measures])) for name in measures[0]}

    def _codes(self, indices: Tensor) -> Tensor:
        self.tokenizer.quantize.to(indices.device)
        return self.tokenizer.quantize.indices_to_codes(indices)

    def saved_config(self) -> dict[str, Any]:
        return {"model": self.config.model.to_dict(), "tokenizer": self.tokenizer.config.to_dict()}

    def info(self) -> dict[str, Any]:
        return {"tokenizer_digest": self.tokenizer_checkpoint.digest, "code_source": self.config.code_source}


def pad(actions: np.ndarray, mask: np.ndarray, how: str) -> tuple[np.ndarray, np.ndarray]:
    """What to aim at past the end of an episode: actions (b, t, 7), and which of them count (b, t)."""
    if how == "mask":
        return actions, mask
    if how == "repeat":
        last = np.maximum(mask.sum(1) - 1, 0)
        actions = np.where(mask[..., None], actions, actions[np.arange(len(actions)), last][:, None])
    return actions, np.ones_like(mask)


def action_measures(predicted: Tensor, actions: Tensor, mask: Tensor) -> dict[str, Tensor]:
    """Mean error of the arm's and accuracy of the gripper's actions; the latter too where the gripper changes."""
    error = (predicted[..., :-1] - actions[..., :-1]).abs().mean(-1)
    right = ((predicted[..., -1] > 0) == (actions[..., -1] > 0)).float()
    valid = mask.float()
    closing = actions[..., -1] > 0
    changes = valid * (closing != closing[:, :1])
    return {
        "arm_l1": (error * valid).sum() / valid.sum(),
        "first_arm_l1": error[:, 0].mean(),
        "gripper_accuracy": (right * valid).sum() / valid.sum(),
        "gripper_change_accuracy": (right * changes).sum() / changes.sum().clamp(min=1),
        "gripper_size": (predicted[..., -1].abs() * valid).sum() / valid.sum(),
    }


def waypoint_measures(missed: Tensor | None) -> dict[str, Tensor]:
    """By how many metres the next waypoint, and the one after it, were missed (b, k)."""
    return {} if missed is None else {f"waypoint_{k + 1}_off": off for k, off in enumerate(missed.mean(0))}


def main(argv: list[str]) -> None:
    config = parse(
        InverseTraining,
        Path(__file__).parent / "config",
        "inverse",
        argv,
        command="python -m policy.train_inverse",
        about=__doc__ or "",
        prefix="inverse",
    )
    if config is not None:
        Trainer(config, InverseRecipe(config)).fit()


if __name__ == "__main__":
    cli.run(main)
