"""How both dynamics models are trained together: video teaches the codes, actions teach what the codes are good for.

Forward dynamics learns the true codes; inverse dynamics learns the actions from the codes that forward dynamics
predicts, and its loss reaches forward dynamics through them. One vision encoder serves and learns from both.
"""

from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from common.errors import UserError, require
from demos.dataset import FrameDataset
from policy import augment
from policy.amplify import Amplify
from policy.forward_dynamics import ForwardConfig
from policy.forward_measures import forward_measures
from policy.inverse_dynamics import InverseConfig
from policy.load import bundle_config
from policy.recipes.action_targets import action_measures, pad_actions, waypoint_measures, waypoint_targets
from policy.recipes.code_cache import CodeCache, check_same_episodes
from policy.recipes.dynamics import DynamicsRecipe, DynamicsTraining
from policy.recipes.models import load_pretrained_text, load_pretrained_vision, parameter_groups
from policy.recipes.texts import prepare_texts, trained_embeddings
from policy.text import T5Text
from tokenizer.tracks.recipe import track_frames
from training import checkpoint
from training.hydra_config import ConfigFiles
from training.recipe import Batch, Measures


@dataclass(frozen=True, kw_only=True)
class JointModels:
    """The two models that are trained together; the vision encoder is forward dynamics'."""

    forward_dynamics: ForwardConfig = field(default_factory=ForwardConfig)
    inverse_dynamics: InverseConfig = field(default_factory=InverseConfig)

    def __post_init__(self) -> None:
        forward, inverse = self.forward_dynamics, self.inverse_dynamics
        require(inverse.cond_on_img and inverse.cond_on_tracks, "joint training is for images and motion codes")
        require(
            forward.vision_encoder == inverse.vision_encoder and not forward.vision_encoder.reads_text,
            "forward and inverse dynamics share one vision encoder: give both the same vision_encoder, with film=false",
        )
        require(
            not inverse.cond_on_text or forward.text_encoder == inverse.text_encoder,
            "give forward and inverse dynamics the same text_encoder",
        )


@dataclass(frozen=True, kw_only=True)
class JointTraining(DynamicsTraining):
    """The settings of a training run of forward and inverse dynamics together."""

    action_weight: float = 1.0
    """of the loss of the actions, beside that of the codes"""
    code_dropout: float = 0.0
    """part of the samples whose codes are hidden from inverse dynamics"""
    pad_actions: Literal["zero", "repeat", "mask"] = "mask"
    """as for inverse dynamics"""
    model: JointModels = field(default_factory=JointModels)

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            self.model.inverse_dynamics.action_key == "actions" or self.pad_actions != "zero",
            "zeros are no joint angles to aim at; set pad_actions=repeat or pad_actions=mask",
        )
        require(not self.compile, "joint training cannot compile its models; set compile=false")


@dataclass(frozen=True)
class JointData:
    """Frames of videos, which of them have actions, the tracks from each on, these as codes (frames, codes), the
    prepared instructions, and the displacements (frames, k, 9) to the next waypoints."""

    frames: FrameDataset
    has_actions: np.ndarray
    tracks: FrameDataset
    codes: np.ndarray
    texts: Tensor
    waypoints: Tensor


class JointRecipe(DynamicsRecipe[JointTraining, JointData]):
    """Samples are frames of the episodes that train ``traj``; those that also train ``action`` teach actions.

    The result is a whole policy, tokenizer included: a bundle.
    """

    kind = "bundle"
    config_type = JointTraining
    config_files = ConfigFiles(Path(__file__).parent / "config", default="joint", prefix="joint")
    model: Amplify

    def __init__(self, config: JointTraining):
        super().__init__(config)
        frames, rows = self.data.frames, self.data.has_actions
        self.model.inverse_dynamics.set_statistics(
            torch.from_numpy(frames.proprio[rows]), torch.from_numpy(frames.actions[rows])
        )
        self.all_have_actions = bool(rows.all())

    def build(self) -> None:
        c = self.config
        vision = c.model.forward_dynamics.vision_encoder.resolved()
        text = c.model.forward_dynamics.text_encoder.resolved()
        of_inverse = replace(c.model.inverse_dynamics, vision_encoder=vision)
        self.model = Amplify(
            self.tokenizer.config,
            replace(c.model.forward_dynamics, vision_encoder=vision, text_encoder=text),
            replace(of_inverse, text_encoder=text) if of_inverse.reads_text else of_inverse,
            share_vision_encoder=True,
            name=c.run_name,
        )
        self.model.motion_tokenizer.load_state_dict(self.tokenizer.state_dict())
        forward, inverse = self.model.forward_dynamics, self.model.inverse_dynamics
        load_pretrained_vision(forward.vision_encoder, vision)
        forward.requires_grad_(True).quantize.requires_grad_(False)
        inverse.requires_grad_(True)
        forward.vision_encoder.requires_grad_(vision.trains)
        for encoder in (forward.text_encoder, inverse.text_encoder):
            load_pretrained_text(encoder, text)
            if isinstance(encoder, T5Text):
                encoder.t5.requires_grad_(False)
        if c.init_from is not None:
            found = checkpoint.read(c.init_from, self.kind).weights
            for weight, ours in self.model.motion_tokenizer.quantize.state_dict().items():
                theirs = found.get(f"motion_tokenizer.quantize.{weight}")
                require(
                    theirs is not None and torch.equal(theirs, ours),
                    f"{c.init_from} thinks in the codes of another tokenizer than {c.motion_tokenizer_checkpoint}",
                )

    def parameter_groups(self) -> list[dict[str, Any]]:
        vision = self.config.model.forward_dynamics.vision_encoder
        return parameter_groups(self.model, vision, self.config.weight_decay)

    def read(self, datasets: tuple[str, ...]) -> JointData:
        c, inverse = self.config, self.config.model.inverse_dynamics
        frames_of = partial(
            FrameDataset,
            datasets,
            root=c.demos_root,
            tracks_root=c.tracks_root,
            views=self.tokenizer.config.views,
            action_horizon=inverse.action_horizon,
            action_key=inverse.action_key,
        )
        frames = frames_of(mode="traj", keys={"images", "proprio", "actions", "text"})
        with_actions = {(e.file, e.index) for e in frames_of(mode="action", keys={"text"}).episodes}
        tracks = track_frames(c.data_roots, datasets, self.tokenizer.config)
        check_same_episodes(frames, tracks)
        if without := with_actions - {(e.file, e.index) for e in frames.episodes}:
            file, index = min(without)
            raise UserError(
                f"episode {index} of {file} is to train actions but not the codes that they follow from; in {datasets} "
                "let the share of traj contain that of action, as in traj0.9:action0.1"
            )
        of_episode = np.array([(e.file, e.index) in with_actions for e in frames.episodes])
        codes = CodeCache.of(c).encode(tracks, self.tokenizer, self.tokenizer_checkpoint.digest)
        texts = prepare_texts(self.model.forward_dynamics.text_encoder, frames.texts, c.tracks_root)
        return JointData(
            frames,
            of_episode[frames.episode_of(np.arange(len(frames)))],
            tracks,
            codes,
            texts,
            waypoint_targets(frames, inverse.waypoints),
        )

    def load(self, indices: np.ndarray, rng: np.random.Generator) -> Batch:
        c, data, indices = self.config, self.data, self.frame_numbers[indices]
        frames = data.frames.frames_in_batch(indices)
        actions, mask = pad_actions(frames["actions"], frames["action_mask"], c.pad_actions)
        return {
            "images": torch.from_numpy(frames["images"]),
            **augment.draw(len(indices), frames["images"].shape[1], c.augment, rng),
            "text": data.texts[frames["text_ids"]],
            "proprio": torch.from_numpy(frames["proprio"]),
            "codes": torch.from_numpy(data.codes[indices]).long(),
            "keep_codes": torch.from_numpy(rng.random(len(indices)) >= c.code_dropout),
            "has_actions": torch.from_numpy(data.has_actions[indices]),
            "actions": torch.from_numpy(actions),
            "mask": torch.from_numpy(mask),
            "waypoints": data.waypoints[torch.from_numpy(indices)],
        }

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        c, forward = self.config, self.model.forward_dynamics
        images = augment.augmented(batch, c.input_dtype)
        tokens = forward.vision_encoder(images)
        condition = forward.condition(tokens, forward.text_encoder(batch["text"]))
        code_loss, logits, vectors = forward.losses(condition, batch["codes"])
        right = forward.unembed.likeliest(logits) == batch["codes"]
        measures = {"code_loss": code_loss.detach(), "teacher_forced_code_accuracy": right.float().mean()}
        vectors = vectors * batch["keep_codes"][:, None, None]
        rows: Tensor | slice = slice(None)
        if not self.all_have_actions:
            rows = batch["has_actions"].nonzero().squeeze(1)
            if not len(rows):
                return code_loss, measures
        actions, mask = batch["actions"][rows], batch["mask"][rows]
        action_loss, predicted, waypoint_errors = self.model.inverse_dynamics(
            images[rows],
            batch["text"][rows],
            batch["proprio"][rows],
            vectors[rows],
            actions,
            mask.float(),
            batch["waypoints"][rows],
            image_tokens=tokens[rows],
        )
        measures |= {"action_loss": action_loss.detach(), **action_measures(predicted, actions, mask)}
        return code_loss + c.action_weight * action_loss, measures | waypoint_measures(waypoint_errors)

    def measure(self, model: nn.Module, indices: np.ndarray, device: torch.device) -> Measures:
        """Those of forward dynamics; those of the actions that follow from its own codes, and without codes."""
        assert isinstance(model, Amplify)
        data, forward, inverse = self.validation_data, model.forward_dynamics, model.inverse_dynamics
        frames = {name: torch.from_numpy(x).to(device) for name, x in data.frames.frames_in_batch(indices).items()}
        images, text = augment.to_float(frames["images"]), data.texts[data.frames.text_ids(indices)].to(device)
        codes = torch.from_numpy(data.codes[indices]).to(device).long()
        points = torch.from_numpy(data.tracks.tracks_in_batch(indices)).to(device)
        tokens = forward.vision_encoder(images)
        condition = forward.condition(tokens, forward.text_encoder(text))
        measures: Measures = dict(forward_measures(forward, model.motion_tokenizer, condition, points, codes))
        vectors = forward.act(condition)
        actions, mask = frames["actions"], frames["action_mask"]
        targets = (actions, mask.float(), data.waypoints[torch.from_numpy(indices)].to(device))
        observation = (images, text, frames["proprio"])
        loss, predicted, waypoint_errors = inverse(*observation, vectors, *targets, image_tokens=tokens)
        without, blind, _ = inverse(*observation, torch.zeros_like(vectors), *targets, image_tokens=tokens)
        code_loss = measures.pop("loss")
        return {
            "loss": code_loss + self.config.action_weight * loss,
            "code_loss": code_loss,
            "action_loss": loss,
            "action_loss_without_codes": without,
            **action_measures(predicted, actions, mask),
            "arm_l1_without_codes": action_measures(blind, actions, mask)["arm_l1"],
            **waypoint_measures(waypoint_errors),
            **measures,
        }

    def saved_config(self) -> dict[str, Any]:
        return bundle_config(self.model)

    def text_embeddings(self) -> dict[str, Tensor]:
        return trained_embeddings(self.model.forward_dynamics.text_encoder, self.data.frames.texts, self.data.texts)

    def info(self) -> dict[str, Any]:
        return {**super().info(), "action_samples": int(self.data.has_actions[self.frame_numbers].sum())}
