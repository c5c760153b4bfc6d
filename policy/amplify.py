"""The whole policy: images and an instruction -> motion codes -> actions (AMPLIFY). Implements ``policy.interface``."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from common.errors import require
from demos.origin import Origin
from demos.panda import panda_hand_pose
from policy.forward_dynamics import ForwardConfig, ForwardDynamics
from policy.interface import Array, Plan, Text
from policy.inverse_dynamics import InverseConfig, InverseDynamics
from policy.known_instructions import KnownInstructions
from policy.observation import checked_images, checked_instructions, checked_proprio, checked_queries
from policy.text import PreprocessedText
from tokenizer.sampling import Sampling
from tokenizer.tracks.model import MotionTokenizer, TokenizerConfig


class Amplify(nn.Module):
    """Tokenizer, forward and inverse dynamics as one policy: numpy in, numpy out, callable from many threads.

    ``share_vision_encoder``: both dynamics models hold one and the same vision encoder, which runs once.
    ``blank_codes``: the inverse dynamics gets zeros instead of codes (to measure what the codes contribute).
    ``autocast``: what matrices are multiplied in, where that is not their own type.
    ``sampling``: how codes are chosen, greedily by default.
    ``sampling_seed``: of what is drawn, codes or the noise that diffusion and flow heads start from, the same for every
    observation; with None it is drawn anew each time, from torch's generator.
    ``origin``: what it learned from. ``text_embeddings`` (512,): of the instructions that it can be given as text,
    where it was trained on stored embeddings.
    """

    def __init__(
        self,
        tokenizer: TokenizerConfig,
        forward_dynamics: ForwardConfig,
        inverse_dynamics: InverseConfig,
        share_vision_encoder: bool = False,
        name: str = "",
        digest: str = "",
        origin: Origin | None = None,
        text_embeddings: Mapping[str, ArrayLike] | None = None,
    ):
        super().__init__()
        self.name, self.digest, self.origin = name, digest, origin or Origin()
        self.known_instructions = KnownInstructions(text_embeddings or {})
        self.blank_codes = False
        self.autocast: torch.dtype | None = None
        self.sampling = Sampling()
        self.sampling_seed: int | None = 0
        self.motion_tokenizer = MotionTokenizer(tokenizer)
        self.forward_dynamics = ForwardDynamics(forward_dynamics, tokenizer, self.motion_tokenizer.quantize)
        self.inverse_dynamics = InverseDynamics(inverse_dynamics, tokenizer)
        for encoder in (self.forward_dynamics.text_encoder, self.inverse_dynamics.text_encoder):
            if isinstance(encoder, PreprocessedText):
                encoder.known = self.known_instructions
        self.share_vision_encoder = share_vision_encoder
        if share_vision_encoder:
            self.inverse_dynamics.vision_encoder = self.forward_dynamics.vision_encoder
        self.requires_grad_(False).eval()

    @property
    def views(self) -> tuple[str, ...]:
        return self.motion_tokenizer.config.views

    @property
    def image_size(self) -> tuple[int, int]:
        return self.motion_tokenizer.config.img_shape

    @property
    def action_horizon(self) -> int:
        return self.inverse_dynamics.config.action_horizon

    @property
    def device(self) -> torch.device:
        return self.forward_dynamics.sos_token.device

    def act(self, images: Array, proprio: Array | None, text: Text, plan: Plan | None = None) -> NDArray[np.float32]:
        """Images (b, v, h, w, 3), proprioception (b, 9), b instructions -> actions (b, horizon, 7) in [-1, 1].

        Those of joint angles (``action_key`` of ``describe``) are (b, horizon, 8): rad, and the gripper in [-1, 1].
        ``plan``, of the batch, is for policies that inpaint.
        """
        with self._computing():
            condition, _ = self._act_on(images, proprio, text)
            noise = self.inverse_dynamics.head.noise(len(condition), self.sampling_seed)
            planned = None if plan is None else self._plan(plan, len(condition))
            return self.inverse_dynamics.act(condition, noise, planned).float().cpu().numpy()

    def predict_waypoints(self, images: Array, proprio: Array | None, text: Text) -> NDArray[np.float32]:
        """As ``act`` takes them -> where the hand will be when its fingers next open or close, and the times after it,
        (b, k, 3) metres in the frame of the arm's base.

        Raises:
            UserError: this policy predicts no waypoints.
        """
        with self._computing():
            _, displacements = self._act_on(images, proprio, text)
            require(displacements is not None, f"the policy {self.name} predicts no waypoints")
            assert displacements is not None
            joints = self._proprio(proprio, len(displacements))[:, :7]
            positions = displacements[..., :3] / 10 + panda_hand_pose(joints)[:, None, :3]
            return positions.cpu().numpy()

    def _act_on(self, images: Array, proprio: Array | None, text: Text) -> tuple[Tensor, Tensor | None]:
        """What inverse dynamics makes of an observation, see ``InverseDynamics.condition``."""
        pixels = self._images(images)
        tokens, seen = self._see(pixels, text)
        codes = self.forward_dynamics.act(seen, self.sampling, self._generator())
        if self.blank_codes:
            codes = torch.zeros_like(codes)
        inverse = self.inverse_dynamics
        prepared = None
        if inverse.text_encoder is not None:
            prepared = inverse.text_encoder.prepare(text).to(self.device)
        return inverse.encode(
            pixels,
            prepared,
            self._proprio(proprio, len(pixels)),
            codes,
            tokens if self.share_vision_encoder else None,
        )

    def predict_codes(self, images: Array, text: Text) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Images (b, v, h, w, 3), b instructions -> indices (b, codes), code vectors (b, codes, hidden)."""
        with self._computing():
            indices = self._predict(self._images(images), text)
            codes = self.motion_tokenizer.quantize.indices_to_codes(indices)
            return indices.cpu().numpy(), codes.float().cpu().numpy()

    def predict_traj(self, images: Array, init_queries: Array, text: Text) -> NDArray[np.float32]:
        """First points (b, v, >=1, n, 2) in [-1, 1] -> where they go, (b, v, 16, n, 2), (row, col)."""
        with self._computing():
            pixels, start = self._images(images), self._queries(init_queries, len(images))
            indices = self._predict(pixels, text)
            codes = self.motion_tokenizer.quantize.indices_to_codes(indices)
            return self.motion_tokenizer.decode_points(codes, start).cpu().numpy()

    def sample_traj(
        self, images: Array, init_queries: Array, text: Text, samples: int, top_k: int = 10
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """As ``predict_traj``, but codes are drawn among the ``top_k`` likeliest instead of being the likeliest.

        Returns indices (b, samples, codes) and trajectories (b, samples, v, 16, n, 2). Draws from torch's generator.
        """
        with self._computing():
            pixels, start = self._images(images), self._queries(init_queries, len(images))
            shape, likely = (len(pixels), samples), Sampling(temperature=1.0, top_k=top_k)
            indices = self.forward_dynamics.predict(self._see(pixels, text)[1], likely, samples=samples)
            codes = self.motion_tokenizer.quantize.indices_to_codes(indices)
            points = self.motion_tokenizer.decode_points(codes, start.repeat_interleave(samples, 0))
            return indices.unflatten(0, shape).cpu().numpy(), points.unflatten(0, shape).cpu().numpy()

    def describe(self) -> dict[str, Any]:
        """name, hash, sizes; for results and servers.

        Also ``instructions`` (those it was trained on; of an imported policy those whose embeddings it has) and
        ``assets`` (digests of those its demonstrations were rendered with), where the bundle says.
        """
        c = self.motion_tokenizer.config
        return {
            "name": self.name,
            "hash": self.digest,
            "type": "amplify",
            "parameters": sum(p.numel() for p in self.parameters()),
            "views": list(c.views),
            "image_size": list(c.img_shape),
            "num_tracks": c.num_tracks,
            "hidden_dim": c.hidden_dim,
            "codebook_size": c.codebook_size,
            "vision_encoder": self.forward_dynamics.config.vision_encoder.name,
            "text_encoder": self.forward_dynamics.config.text_encoder.name,
            "head": self.inverse_dynamics.config.type,
            "runtime": f"torch {torch.__version__}",
            "inpaints": self.inverse_dynamics.head.inpaints,
            "precision": "fp32" if self.autocast is None else "bf16",
            "action_key": self.inverse_dynamics.config.action_key,
            "blank_codes": self.blank_codes,
            **self.origin.to_info(),
        }

    @contextmanager
    def _computing(self) -> Iterator[None]:
        """Around all that is computed."""
        enabled = self.autocast is not None
        with torch.inference_mode(), torch.autocast(self.device.type, self.autocast, enabled=enabled):
            yield

    def choose_codes(self, sampling: Sampling, seed: int | None = 0) -> None:
        """Sets ``sampling`` and ``sampling_seed``; UserError where codes are not chosen, but their mean is acted on."""
        soft = self.forward_dynamics.config.codes == "soft"
        require(
            sampling.greedy or not soft, "this policy acts on the mean of all codes and chooses none: nothing to draw"
        )
        self.sampling, self.sampling_seed = sampling, seed

    def _see(self, pixels: Tensor, text: Text) -> tuple[Tensor, Tensor]:
        """Pixels (b, v, h, w, 3) -> image tokens (b, v, t, e) and condition tokens of forward dynamics."""
        model = self.forward_dynamics
        features = model.text_encoder(self._instructions(text, len(pixels)))
        tokens = model.vision_encoder(pixels, features)
        return tokens, model.condition(tokens, features)

    def _predict(self, pixels: Tensor, text: Text) -> Tensor:
        """Pixels (b, v, h, w, 3) -> indices (b, codes)."""
        return self.forward_dynamics.predict(self._see(pixels, text)[1], self.sampling, self._generator())

    def _generator(self) -> torch.Generator | None:
        if self.sampling_seed is None or self.sampling.greedy:
            return None
        return torch.Generator(self.device).manual_seed(self.sampling_seed)

    def _instructions(self, text: Text, batch: int) -> Tensor:
        """``batch`` instructions as the text encoder of forward dynamics takes them."""
        prepared = self.forward_dynamics.text_encoder.prepare(text).to(self.device)
        checked_instructions(prepared, batch)
        return prepared

    def _queries(self, init_queries: Array, batch: int) -> Tensor:
        """Checks first points (b, v, >=1, n, 2) -> (b, v, 1, n, 2) on the device."""
        c = self.motion_tokenizer.config
        return torch.from_numpy(checked_queries(init_queries, batch, len(c.views), c.num_tracks)).to(self.device)

    def _images(self, images: Array) -> Tensor:
        """Checks (b, v, h, w, 3), uint8 or floats in [0, 1], and brings it to float32 in [0, 1] on the device."""
        pixels = torch.as_tensor(checked_images(images, len(self.views)), device=self.device)
        return pixels.float() / 255 if pixels.dtype == torch.uint8 else pixels.float()

    def _plan(self, plan: Plan, batch: int) -> tuple[Tensor, Tensor]:
        shape = (batch, *self.inverse_dynamics.head.shape)
        require(
            plan.actions.shape == shape and plan.weights.shape == shape[:2],
            f"a plan is actions {shape} and weights {shape[:2]}, not {plan.actions.shape} and {plan.weights.shape}",
        )
        return tuple(torch.from_numpy(part).to(self.device) for part in (plan.actions, plan.weights))  # type: ignore[return-value]

    def _proprio(self, proprio: Array | None, batch: int) -> Tensor:
        width = self.inverse_dynamics.config.proprio_dim
        return torch.from_numpy(checked_proprio(proprio, batch, width)).to(self.device)
