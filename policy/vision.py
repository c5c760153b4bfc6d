"""Vision encoders: images (b, v, h, w, 3), float in [0, 1] -> tokens (b, v, t, e).

``small`` trains with the model it belongs to and is cheap on a CPU; ``resnet18`` is the frozen one of the published
recipe (7 x 7 patches at 224 pixels; no mean or variance is taken off its input). ``vit`` and ``dinov2`` come through
the optional library ``transformers``. All but the small one start from pretrained weights.
"""

from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from common.errors import UserError, require
from common.pretrained import read_config
from policy.text import TEXT_DIM
from policy.transformers_vision import TransformersVision
from tokenizer.resnet import ResNet, to_planes


@dataclass(frozen=True)
class VisionConfig:
    """``image_size`` is the side of the square every image is resized to (bilinear, no antialiasing, no crop)."""

    name: Literal["small", "resnet18", "resnet34", "resnet50", "vit", "dinov2"] = "resnet18"
    image_size: int = 224
    weights: str | None = None
    """for training, all but small: pretrained weights, as a file (.safetensors or .pth; of a resnet with torchvision's
    or timm's names), a folder that transformers wrote, or a name on the hub (facebook/dinov2-small)"""
    architecture: dict[str, Any] | None = None
    """vit and dinov2: their configuration in transformers' words; left out, it is read beside the weights"""
    frozen: bool = True
    """all but small, which always trains"""
    lr_multiplier: float = 1.0
    """of one that trains: its learning rate, as a multiple of the other weights'"""
    embed_dim: int = 128
    """small: width of a token; the others have theirs"""
    channels: tuple[int, ...] = (32, 64, 64, 64)
    """small: of the stem and of the 3 x 3 convolutions, the first of which halves the resolution"""
    keypoints: int = 32
    film: bool = True
    """small: the instruction says what to look for (scales and shifts of the features); without it the encoder sees
    images alone, and may be shared by models that read the instruction and models that must not"""

    @property
    def reads_text(self) -> bool:
        """Whether what it sees depends on the instruction."""
        return self.name == "small" and self.film

    @property
    def trains(self) -> bool:
        """A frozen encoder may be shared between models; one that trains belongs to its model."""
        return self.name == "small" or not self.frozen

    def resolved(self) -> "VisionConfig":
        """With the ``architecture`` that its weights have, where the name does not say it all."""
        if self.name not in ("vit", "dinov2") or self.architecture is not None:
            return self
        return replace(self, architecture=read_config(self.pretrained_weights, self.name))

    @property
    def pretrained_weights(self) -> str:
        """``weights``; raises UserError where an encoder that needs some has none."""
        if self.weights is None:
            raise UserError(
                f"vision_encoder.weights has to name pretrained {self.name} weights: a file (.safetensors or .pth), a "
                "folder, or a name on the hub; an encoder that needs none is vision_encoder.name=small"
            )
        return self.weights


class _Conv(nn.Module):
    """3 x 3 convolution, norm over the whole map, scale and shift (by the text with ``film``, else learned), SiLU,
    residual where shapes allow."""

    film: nn.Linear | None

    def __init__(self, channels: int, out: int, stride: int, film: bool):
        super().__init__()
        self.residual = channels == out and stride == 1
        self.conv = nn.Conv2d(channels, out, 3, stride, 1, bias=False)
        self.norm = nn.GroupNorm(1, out)  # one group: an eighth of the time that eight take
        self.film = None
        if film:
            self.film = nn.Linear(TEXT_DIM, 2 * out)
            nn.init.zeros_(self.film.weight)  # starts as the identity
            nn.init.zeros_(self.film.bias)

    def forward(self, x: Tensor, text: Tensor | None) -> Tensor:
        y = self.norm(self.conv(x))
        if self.film is not None:
            assert text is not None
            scale, shift = self.film(text)[:, :, None, None].chunk(2, 1)
            y = torch.addcmul(shift, y, 1 + scale)
        y = F.silu(y)
        return x + y if self.residual else y


class _SmallTrunk(nn.Module):
    """One view of the small encoder: (b, 3, s, s), text (b, 512) or None -> tokens (b, 17, e)."""

    def __init__(self, config: VisionConfig):
        super().__init__()
        stem, *widths = config.channels
        self.stem = nn.Conv2d(3, stem, 8, 4, 2)
        sizes = [stem, *widths]
        self.convs = nn.ModuleList(_Conv(sizes[i], w, 2 if i == 0 else 1, config.film) for i, w in enumerate(widths))
        width = sizes[-1]
        self.keypoints = nn.Conv2d(width, config.keypoints, 1)
        self.project_keypoints = nn.Linear(config.keypoints * (2 + width), config.embed_dim)
        self.project_cells = nn.Linear(width, config.embed_dim)
        self.positions = nn.Parameter(torch.randn(17, config.embed_dim) * 0.02)

    def forward(self, planes: Tensor, text: Tensor | None) -> Tensor:
        x = F.silu(self.stem(planes))  # a norm here would cost as much as the three below
        for conv in self.convs:
            x = conv(x, text)
        cells = F.adaptive_avg_pool2d(x, 4).flatten(2).transpose(1, 2)  # (b, 16, c)
        where, what = self._attend(x)
        keypoints = self.project_keypoints(torch.cat([where.flatten(1), what.flatten(1)], 1)).unsqueeze(1)
        return torch.cat([keypoints, self.project_cells(cells)], 1) + self.positions

    def _attend(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Spatial softmax: (b, c, s, s) -> expected (row, col) in [-1, 1] (b, k, 2), features seen there (b, k, c)."""
        attention = self.keypoints(x).flatten(2).float().softmax(-1)  # (b, k, s * s)
        axis = torch.linspace(-1, 1, x.shape[-1], device=x.device)
        grid = torch.stack(torch.meshgrid(axis, axis, indexing="ij"), -1).flatten(0, 1)  # (s * s, 2)
        return attention @ grid, attention.to(x.dtype) @ x.flatten(2).transpose(1, 2)


class SmallEncoder(nn.Module):
    """A convolutional encoder a view; 16 cells and one keypoint token a view. With ``film`` the text tells it what to
    look for."""

    num_tokens = 17

    def __init__(self, config: VisionConfig, views: int):
        super().__init__()
        self.size, self.embed_dim = config.image_size, config.embed_dim
        self.views = nn.ModuleList(_SmallTrunk(config) for _ in range(views))

    def forward(self, images: Tensor, text: Tensor | None = None) -> Tensor:
        """(b, v, h, w, 3), with ``film`` (b, 512) -> (b, v, 17, e)"""
        tokens = [trunk(to_planes(images[:, i], self.size), text) for i, trunk in enumerate(self.views)]
        return torch.stack(tokens, 1)


VisionEncoder = SmallEncoder | ResNet | TransformersVision


def build_vision_encoder(config: VisionConfig, views: int) -> VisionEncoder:
    """The encoder, with random weights."""
    if config.name == "small":
        return SmallEncoder(config, views)
    if config.name == "vit" or config.name == "dinov2":
        require(config.architecture is not None, f"vision_encoder.architecture has to describe the {config.name}")
        assert config.architecture is not None
        return TransformersVision(config.name, config.image_size, config.architecture, config.trains)
    return ResNet(config.image_size, config.name, config.trains)
