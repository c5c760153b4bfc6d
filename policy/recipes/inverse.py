"""How inverse dynamics is trained: motion codes, images, instruction and proprioception -> the actions taken there."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from common.errors import UserError, require
from demos.dataset import FrameDataset
from policy import augment
from policy.inverse_dynamics import InverseConfig, InverseDynamics
from policy.recipes.action_targets import action_measures, pad_actions, waypoint_measures, waypoint_targets
from policy.recipes.code_cache import CodeCache, check_same_episodes
from policy.recipes.dynamics import DynamicsRecipe, DynamicsTraining
from policy.recipes.models import load_forward, load_pretrained_text, load_pretrained_vision, parameter_groups
from policy.recipes.texts import prepare_texts, trained_embeddings
from tokenizer.tracks.recipe import track_frames
from training.hydra_config import ConfigFiles
from training.recipe import Batch, Measures


@dataclass(frozen=True, kw_only=True)
class InverseTraining(DynamicsTraining):
    """The settings of a training run of inverse dynamics."""

    forward_dynamics_checkpoint: str | None = None
    code_source: Literal["tokenizer", "forward", "mixed"] = "forward"
    """whose codes condition the actions; mixed: for each sample one or the other, at random"""
    code_dropout: float = 0.0
    """part of the samples whose codes are blanked"""
    pad_actions: Literal["zero", "repeat", "mask"] = "zero"
    """targets past the end of an episode: zeros, the last action, or none"""
    num_epochs: int | None = 250
    gpu_max_bs: int = 256
    model: InverseConfig = field(default_factory=InverseConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.code_source != "tokenizer" and self.forward_dynamics_checkpoint is None:
            source = self.code_source
            raise UserError(f"code_source={source} needs forward_dynamics_checkpoint=...; or use code_source=tokenizer")
        if self.model.action_key != "actions" and self.pad_actions == "zero":
            raise UserError("zeros are no joint angles to aim at; set pad_actions=repeat or pad_actions=mask")


@dataclass(frozen=True)
class InverseData:
    """Frames with their actions, the codes (sources, frames, codes) to choose from, the prepared instructions, and
    the displacements (frames, k, 9) to the next waypoints."""

    frames: FrameDataset
    codes: np.ndarray
    texts: Tensor
    waypoints: Tensor


class InverseRecipe(DynamicsRecipe[InverseTraining, InverseData]):
    """Samples are observations, codes and actions; the loss is the head's, and that of the waypoints."""

    kind = "inverse_dynamics"
    config_type = InverseTraining
    config_files = ConfigFiles(Path(__file__).parent / "config", default="inverse", prefix="inverse")
    model: InverseDynamics

    def __init__(self, config: InverseTraining):
        self.forward_digest: str | None = None
        super().__init__(config)
        frames = self.data.frames
        self.model.set_statistics(torch.from_numpy(frames.proprio), torch.from_numpy(frames.actions))

    def build(self) -> None:
        c = self.config.model
        if c.cond_on_img:
            c = replace(c, vision_encoder=c.vision_encoder.resolved())
        if c.reads_text:
            c = replace(c, text_encoder=c.text_encoder.resolved())
        self.model = InverseDynamics(c, self.tokenizer.config)
        load_pretrained_vision(self.model.vision_encoder, c.vision_encoder)
        load_pretrained_text(self.model.text_encoder, c.text_encoder)

    def parameter_groups(self) -> list[dict[str, Any]]:
        return parameter_groups(self.model, self.config.model.vision_encoder, self.config.weight_decay)

    def read(self, datasets: tuple[str, ...]) -> InverseData:
        c = self.config
        frames = FrameDataset(
            datasets,
            root=c.demos_root,
            tracks_root=c.tracks_root,
            keys={"images", "proprio", "actions", "text"},
            views=self.tokenizer.config.views,
            action_horizon=c.model.action_horizon,
            action_key=c.model.action_key,
        )
        texts = torch.zeros(len(frames.texts), 0)
        if self.model.text_encoder is not None:
            texts = prepare_texts(self.model.text_encoder, frames.texts, c.tracks_root)
        return InverseData(frames, self._codes(datasets, frames), texts, waypoint_targets(frames, c.model.waypoints))

    def _codes(self, datasets: tuple[str, ...], frames: FrameDataset) -> np.ndarray:
        """Codes (sources, frames, codes), those of run time last."""
        c, cache, sources = self.config, CodeCache.of(self.config), []
        if c.code_source in ("tokenizer", "mixed"):
            tracks = track_frames(c.data_roots, datasets, self.tokenizer.config, mode="action")
            check_same_episodes(frames, tracks)
            sources.append(cache.encode(tracks, self.tokenizer, self.tokenizer_checkpoint.digest))
        if c.code_source in ("forward", "mixed"):
            assert c.forward_dynamics_checkpoint is not None
            forward, found = load_forward(
                c.forward_dynamics_checkpoint, self.tokenizer_checkpoint, c.model.vision_encoder.weights
            )
            require(
                forward.config.codes == "discrete",
                f"{found.path} gives the mean of all codes (codes=soft), of which none are kept in files; train "
                "inverse dynamics together with it (policy.train_dynamics), or use code_source=tokenizer",
            )
            self.forward_digest = found.digest
            texts = prepare_texts(forward.text_encoder, frames.texts, c.tracks_root)
            sources.append(cache.predict(frames, forward, texts, found.digest, c.input_dtype))
        return np.stack(sources)

    def load(self, indices: np.ndarray, rng: np.random.Generator) -> Batch:
        c, data, indices = self.config, self.data, self.frame_numbers[indices]
        frames = data.frames.frames_in_batch(indices)
        source = rng.integers(len(data.codes), size=len(indices))
        actions, mask = pad_actions(frames["actions"], frames["action_mask"], c.pad_actions)
        return {
            "images": torch.from_numpy(frames["images"]),
            **augment.draw(len(indices), frames["images"].shape[1], c.augment, rng),
            "text": data.texts[frames["text_ids"]],
            "proprio": torch.from_numpy(frames["proprio"]),
            "codes": torch.from_numpy(data.codes[source, indices]),
            "keep_codes": torch.from_numpy(rng.random(len(indices)) >= c.code_dropout),
            "actions": torch.from_numpy(actions),
            "mask": torch.from_numpy(mask),
            "waypoints": data.waypoints[torch.from_numpy(indices)],
        }

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        images = augment.augmented(batch, self.config.input_dtype)
        codes = self._code_vectors(batch["codes"]) * batch["keep_codes"][:, None, None]
        actions, mask = batch["actions"], batch["mask"]
        loss, predicted, waypoint_errors = self.model(
            images, batch["text"], batch["proprio"], codes, actions, mask.float(), batch["waypoints"]
        )
        return loss, action_measures(predicted, actions, mask) | waypoint_measures(waypoint_errors)

    def measure(self, model: nn.Module, indices: np.ndarray, device: torch.device) -> Measures:
        """Loss and errors with the codes of run time (forward dynamics' where there are any); loss without codes."""
        data = self.validation_data
        frames = {name: torch.from_numpy(x).to(device) for name, x in data.frames.frames_in_batch(indices).items()}
        images, text = augment.to_float(frames["images"]), data.texts[frames["text_ids"].cpu()].to(device)
        codes = self._code_vectors(torch.from_numpy(data.codes[-1, indices]).to(device))
        actions, mask = frames["actions"], frames["action_mask"]
        observation = (images, text, frames["proprio"])
        targets = (actions, mask.float(), data.waypoints[torch.from_numpy(indices)].to(device))
        torch.manual_seed(self.config.seed)  # a head that samples is measured with the same noise every time
        loss, predicted, waypoint_errors = model(*observation, codes, *targets)
        torch.manual_seed(self.config.seed)
        loss_without_codes, *_ = model(*observation, torch.zeros_like(codes), *targets)
        return {
            "loss": loss,
            "loss_without_codes": loss_without_codes,
            **action_measures(predicted, actions, mask),
            **waypoint_measures(waypoint_errors),
        }

    def _code_vectors(self, indices: Tensor) -> Tensor:
        self.tokenizer.quantize.to(indices.device)
        return self.tokenizer.quantize.indices_to_codes(indices)

    def built_on(self) -> dict[str, str]:
        forward = {"forward_dynamics_checkpoint": self.forward_digest} if self.forward_digest else {}
        return super().built_on() | forward

    def saved_config(self) -> dict[str, Any]:
        return {"model": self.model.config.to_dict(), "tokenizer": self.tokenizer.config.to_dict()}

    def text_embeddings(self) -> dict[str, Tensor]:
        return trained_embeddings(self.model.text_encoder, self.data.frames.texts, self.data.texts)

    def info(self) -> dict[str, Any]:
        return {**super().info(), "forward_digest": self.forward_digest, "code_source": self.config.code_source}
