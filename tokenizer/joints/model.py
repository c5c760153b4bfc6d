"""The motion VQ-VAE: features of a motion to codes and back, statistics and all that it needs in one checkpoint."""

from pathlib import Path
from typing import ClassVar, Self

import torch
from torch import Tensor, nn

from common.errors import UserError
from tokenizer.joints.features import Columns, joints_of_width
from tokenizer.joints.network import Decoder, Encoder
from tokenizer.joints.options import JointTokenizerConfig
from tokenizer.joints.quantizers import Quantized, make_quantizer
from training import checkpoint
from training.typed_config import from_mapping

KIND = "joint_tokenizer"
SAME = 1e-6
"""A feature that varies less than this, relative to its size, is constant: rounding is not made large."""


class VQVAE(nn.Module):
    """Encoder, quantizer, decoder on normalised features (b, t, d)."""

    def __init__(self, features: int, c: JointTokenizerConfig):
        super().__init__()
        self.encoder = Encoder(features, c)
        self.quantizer = make_quantizer(c)
        self.decoder = Decoder(features, c)

    def forward(self, x: Tensor) -> tuple[Tensor, Quantized]:
        """What is rebuilt (b, t, d), and the codes."""
        quantized = self.quantizer(self.encoder(x.transpose(1, 2)))
        return self.decoder(quantized.vectors).transpose(1, 2), quantized

    def decode(self, indices: Tensor) -> Tensor:
        """(b, s) or (b, s, layers) -> (b, s * frames_per_code, d)."""
        return self.decoder(self.quantizer.lookup(indices)).transpose(1, 2)


class JointTokenizer(nn.Module):
    """A ``tokenizer.interface.Tokenizer`` of features (b, t, d) as ``tokenizer.joints.features`` makes them.

    >>> tokenizer = JointTokenizer.load("checkpoints/joints-arm.safetensors")  # doctest: +SKIP
    >>> codes = tokenizer.encode(features)                                     # doctest: +SKIP
    """

    kind: ClassVar[str] = KIND
    mean: Tensor
    std: Tensor
    constant: Tensor

    def __init__(self, config: JointTokenizerConfig, features: int, frame_rate: float):
        super().__init__()
        self.config, self._frame_rate = config, frame_rate
        self.vqvae = VQVAE(features, config)
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("std", torch.ones(features))
        self.register_buffer("constant", torch.zeros(features, dtype=torch.bool))

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """The trained tokenizer of a checkpoint, frozen and in eval mode; CheckpointError for anything else."""
        found = checkpoint.read(path, KIND)
        config = from_mapping(JointTokenizerConfig, found.config["model"], str(path))
        model = cls(config, found.config["features"], found.config["frame_rate"])
        checkpoint.load_weights(model, found)
        return model.requires_grad_(False).eval()

    def normalise_by(self, features: Tensor) -> None:
        """Takes mean and standard deviation of all frames (t, d) of the training data as its own.

        With ``joint_scale=common`` joints share one, and a joint's velocity is in units of that a frame. A feature that
        does not vary, of a root that is fixed for example, is left as large as it is, and is decoded as what it is.
        """
        self.mean.copy_(features.double().mean(0))
        std = features.double().std(0)
        self.constant.copy_(std <= SAME * self.mean.double().abs().clamp(min=1e-12))
        if self.config.joint_scale == "common":
            c = self.config.features
            columns = Columns.of(c, joints_of_width(c, features.shape[1]))
            scale = std[columns.joints].square().mean().sqrt()
            std[columns.joints], std[columns.joint_velocities] = scale, scale * self.frame_rate
        self.std.copy_(torch.where(self.constant, 1.0, std))

    def normalised(self, features: Tensor) -> Tensor:
        """Features in units of their standard deviation, from their mean."""
        return (features - self.mean) / self.std

    def restored(self, x: Tensor) -> Tensor:
        """The inverse of ``normalised``."""
        return torch.where(self.constant, self.mean, x * self.std + self.mean)

    @property
    def codebook_size(self) -> int:
        return self.vqvae.quantizer.num_codes

    @property
    def latent_width(self) -> int:
        return self.config.code_dim

    @property
    def frame_rate(self) -> float:
        return self._frame_rate

    @property
    def rate(self) -> float:
        return self._frame_rate / self.config.frames_per_code

    @torch.no_grad()
    def encode(self, motion: Tensor) -> Tensor:
        """Features (b, t, d), t a multiple of the frames that a code stands for -> (b, s) or (b, s, layers)."""
        step, width = self.config.frames_per_code, len(self.mean)
        if motion.ndim != 3 or motion.shape[2] != width or motion.shape[1] == 0 or motion.shape[1] % step:
            raise UserError(
                f"motion must be features (b, t, {width}), t a multiple of {step}, not {tuple(motion.shape)}; "
                "tokenizer.joints.codes.padded makes it one"
            )
        z = self.vqvae.encoder(self.normalised(motion).transpose(1, 2))
        return self.vqvae.quantizer.encode(z)

    @torch.no_grad()
    def decode(self, codes: Tensor) -> Tensor:
        """(b, s) or (b, s, layers) -> features (b, s * frames_per_code, d)."""
        layers = (self.config.quantizer_layers,) if self.config.quantizer == "residual" else ()
        wrong = codes.ndim != 2 + len(layers) or tuple(codes.shape[2:]) != layers or codes.shape[1] == 0
        if wrong or codes.numel() == 0 or codes.is_floating_point():
            wanted = ", ".join(map(str, ("b", "s", *layers)))
            raise UserError(f"codes must be whole numbers ({wanted}), not {codes.dtype} {tuple(codes.shape)}")
        least, most = int(codes.min()), int(codes.max())
        if least < 0 or most >= self.codebook_size:
            raise UserError(f"codes are 0 to {self.codebook_size - 1}; {least} to {most} are another tokenizer's")
        return self.restored(self.vqvae.decode(codes))
