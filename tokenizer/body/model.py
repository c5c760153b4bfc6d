"""The Motion VAE, and it as a tokenizer of body motion: features of frames to continuous vectors and back."""

from pathlib import Path
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from common.errors import UserError
from tokenizer.body.network import Decoder, Encoder, Stream
from tokenizer.body.options import LATENT_FRAMES, BodyConfig
from training import checkpoint
from training.typed_config import from_mapping

KIND = "body_tokenizer"
LARGEST_LOG_VARIANCE = 10.0


class Latents(NamedTuple):
    """What motion is encoded to, each (b, s, z)."""

    mean: Tensor
    log_variance: Tensor
    """in [-10, 10]"""


class Reconstruction(NamedTuple):
    """Motion after encoding and decoding, and what was between."""

    motion: Tensor
    """(b, t, d)"""
    latents: Latents
    z: Tensor
    """(b, s, z), what was decoded"""


class MotionVAE(nn.Module):
    """Features (b, t, d) <-> latent vectors (b, t / 4, z), a variational autoencoder.

    Vectors are drawn in training mode and the means in eval mode.
    """

    def __init__(self, config: BodyConfig):
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)

    def encode(self, motion: Tensor, stream: Stream | None = None) -> Latents:
        """(b, t, d) -> latents; with a ``stream`` those that this piece of the motion completes."""
        mean, log_variance = self.encoder(motion.transpose(1, 2), stream).transpose(1, 2).chunk(2, dim=-1)
        return Latents(mean, log_variance.clamp(-LARGEST_LOG_VARIANCE, LARGEST_LOG_VARIANCE))

    def decode(self, z: Tensor, stream: Stream | None = None) -> Tensor:
        """(b, s, z) -> (b, 4 s, d)."""
        return self.decoder(z.transpose(1, 2), stream).transpose(1, 2)

    def forward(self, motion: Tensor, noise: Tensor | None = None) -> Reconstruction:
        """``noise`` (b, s, z), standard normal, is drawn where it is not given."""
        latents = self.encode(motion)
        z = latents.mean
        if self.training:
            noise = torch.randn_like(z) if noise is None else noise
            z = z + noise * (latents.log_variance / 2).exp()
        return Reconstruction(self.decode(z), latents, z)


class BodyTokenizer(nn.Module):
    """A Motion VAE as a ``tokenizer.interface.Tokenizer``: motion is features (b, t, d), codes are its means."""

    kind: ClassVar[str] = KIND
    codebook_size: ClassVar[None] = None

    def __init__(self, config: BodyConfig, frame_rate: float):
        super().__init__()
        self.config, self.frame_rate = config, frame_rate
        self.vae = MotionVAE(config)

    @classmethod
    def load(cls, path: str | Path) -> "BodyTokenizer":
        """The trained tokenizer of a checkpoint, frozen and in eval mode; CheckpointError for anything else."""
        found = checkpoint.read(path, KIND)
        config = from_mapping(BodyConfig, found.config["model"], str(path))
        model = cls(config, found.config["frame_rate"])
        checkpoint.load_weights(model, found)
        return model.requires_grad_(False).eval()

    @property
    def latent_width(self) -> int:
        """Numbers in a vector."""
        return self.config.latent_dim

    @property
    def rate(self) -> float:
        """Vectors a second of motion."""
        return self.frame_rate / LATENT_FRAMES

    @torch.no_grad()
    def encode(self, motion: Tensor) -> Tensor:
        """Features (b, t, d) -> vectors (b, t / 4, z).

        Raises:
            UserError: the number of frames is no multiple of four, or the features are of another body.
        """
        if motion.ndim != 3 or motion.shape[-1] != self.config.input_dim:
            raise UserError(f"motion must have shape (b, t, {self.config.input_dim}), not {tuple(motion.shape)}")
        frames = motion.shape[1]
        if not frames or frames % LATENT_FRAMES:
            below = frames // LATENT_FRAMES * LATENT_FRAMES
            raise UserError(
                f"motion of {frames} frames cannot be encoded at once, only of a multiple of {LATENT_FRAMES}: take "
                f"{below + LATENT_FRAMES} or {below} frames, or tokenizer.body.streaming"
            )
        return self.vae.encode(motion).mean

    @torch.no_grad()
    def decode(self, codes: Tensor) -> Tensor:
        """Vectors (b, s, z) -> features (b, 4 s, d); UserError where they have another width."""
        if codes.ndim != 3 or codes.shape[-1] != self.latent_width:
            raise UserError(f"vectors must have shape (b, s, {self.latent_width}), not {tuple(codes.shape)}")
        return self.vae.decode(codes)
