"""Vision encoders: images (b, v, h, w, 3), float in [0, 1] -> tokens (b, v, t, e).

``small`` trains with the model it belongs to and is cheap on a CPU; ``resnet18`` is the frozen one of the published
recipe (7 x 7 patches at 224 pixels; no mean or variance is taken off its input).
"""

import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from common.errors import UserError
from policy.text import TEXT_DIM


@dataclass(frozen=True)
class VisionConfig:
    """``image_size`` is the side of the square every image is resized to (bilinear, no antialiasing, no crop)."""

    name: Literal["small", "resnet18"] = "resnet18"
    image_size: int = 224
    weights: str | None = None
    """resnet18, for training: file with its pretrained weights (.safetensors or .pth, torchvision's or timm's names)"""
    embed_dim: int = 128
    """small: width of a token; resnet18 has 512"""
    channels: tuple[int, ...] = (32, 64, 64, 64)
    """small: of the stem and of the 3 x 3 convolutions, the first of which halves the resolution"""
    keypoints: int = 32

    @property
    def trains(self) -> bool:
        """A frozen encoder may be shared between models; one that trains belongs to its model."""
        return self.name == "small"


def _to_planes(images: Tensor, size: int) -> Tensor:
    """(b, h, w, 3) -> (b, 3, size, size) without copying when the size fits; memory stays channels-last."""
    planes = images.movedim(-1, 1)
    if planes.shape[-2:] == (size, size):
        return planes
    return F.interpolate(planes.float(), (size, size), mode="bilinear", align_corners=False)


_PLACES = {"conv1": "0", "bn1": "1", "layer1": "4", "layer2": "5", "layer3": "6", "layer4": "7"}
"""of ResNet-18's parts in ``ResNet18.model``"""


class _BasicBlock(nn.Module):
    def __init__(self, channels: int, out: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(out)
        self.conv2 = nn.Conv2d(out, out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(out)
        self.downsample: nn.Module | None = None
        if stride != 1 or channels != out:
            self.downsample = nn.Sequential(nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out))

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


class ResNet18(nn.Module):
    """ResNet-18 (He et al., 2015) up to its last feature map, whose cells are the tokens; always in eval mode."""

    embed_dim = 512

    def __init__(self, config: VisionConfig):
        super().__init__()
        self.size = config.image_size
        self.num_tokens = (config.image_size // 32) ** 2
        stages = [(64, 64, 1), (64, 128, 2), (128, 256, 2), (256, 512, 2)]
        self.model = nn.Sequential(
            nn.Conv2d(3, 64, 7, 2, 3, bias=False),
            nn.BatchNorm2d(64),
            nn.ReLU(),
            nn.MaxPool2d(3, 2, 1),
            *(nn.Sequential(_BasicBlock(i, o, stride), _BasicBlock(o, o, 1)) for i, o, stride in stages),
        )
        self.requires_grad_(False).eval()

    def load_pretrained(self, path: Path) -> None:
        """Weights of torchvision's or timm's resnet18, or of this module; what belongs to its classifier is dropped."""
        try:
            found = load_file(path) if path.suffix == ".safetensors" else torch.load(path, "cpu", weights_only=True)
        except (OSError, SafetensorError, RuntimeError, pickle.UnpicklingError) as error:
            raise UserError(f"cannot read resnet18 weights from {path} ({str(error).splitlines()[0]})") from None
        weights = {}
        for name, tensor in found.items():
            part, _, rest = name.removeprefix("model.").partition(".")
            if part != "fc":
                weights[f"model.{_PLACES.get(part, part)}.{rest}"] = tensor
        try:
            self.load_state_dict(weights)
        except RuntimeError as error:
            raise UserError(f"{path} does not hold resnet18 weights: {' '.join(str(error).split())[:200]}") from None

    def train(self, mode: bool = True) -> "ResNet18":
        """Stays in eval mode: the statistics of its normalisation are frozen like its weights."""
        return super().train(False)

    def forward(self, images: Tensor, text: Tensor | None = None) -> Tensor:
        """(b, v, h, w, 3) -> (b, v, t, 512); ``text`` is not looked at."""
        features = self.model(_to_planes(images.flatten(0, 1).float(), self.size))
        return features.flatten(2).transpose(1, 2).unflatten(0, images.shape[:2])


class _FilmConv(nn.Module):
    """3 x 3 convolution, norm over the whole map, scale and shift by the text, SiLU, residual where shapes allow."""

    def __init__(self, channels: int, out: int, stride: int):
        super().__init__()
        self.residual = channels == out and stride == 1
        self.conv = nn.Conv2d(channels, out, 3, stride, 1, bias=False)
        self.norm = nn.GroupNorm(1, out)  # one group: an eighth of the time that eight take
        self.film = nn.Linear(TEXT_DIM, 2 * out)
        nn.init.zeros_(self.film.weight)  # starts as the identity
        nn.init.zeros_(self.film.bias)

    def forward(self, x: Tensor, text: Tensor) -> Tensor:
        scale, shift = self.film(text)[:, :, None, None].chunk(2, 1)
        y = F.silu(torch.addcmul(shift, self.norm(self.conv(x)), 1 + scale))
        return x + y if self.residual else y


class _SmallTrunk(nn.Module):
    """One view of the small encoder: (b, 3, s, s), text (b, 512) -> tokens (b, 17, e)."""

    def __init__(self, config: VisionConfig):
        super().__init__()
        stem, *widths = config.channels
        self.stem = nn.Conv2d(3, stem, 8, 4, 2)
        sizes = [stem, *widths]
        self.convs = nn.ModuleList(_FilmConv(sizes[i], w, 2 if i == 0 else 1) for i, w in enumerate(widths))
        width = sizes[-1]
        self.keypoints = nn.Conv2d(width, config.keypoints, 1)
        self.project_keypoints = nn.Linear(config.keypoints * (2 + width), config.embed_dim)
        self.project_cells = nn.Linear(width, config.embed_dim)
        self.positions = nn.Parameter(torch.randn(17, config.embed_dim) * 0.02)

    def forward(self, planes: Tensor, text: Tensor) -> Tensor:
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
    """A convolutional encoder a view, told by the text what to look for; 16 cells and one keypoint token a view."""

    num_tokens = 17

    def __init__(self, config: VisionConfig, views: int):
        super().__init__()
        self.size, self.embed_dim = config.image_size, config.embed_dim
        self.views = nn.ModuleList(_SmallTrunk(config) for _ in range(views))

    def forward(self, images: Tensor, text: Tensor) -> Tensor:
        """(b, v, h, w, 3), (b, 512) -> (b, v, 17, e)"""
        tokens = [trunk(_to_planes(images[:, i], self.size), text) for i, trunk in enumerate(self.views)]
        return torch.stack(tokens, 1)


def build_vision_encoder(config: VisionConfig, views: int) -> SmallEncoder | ResNet18:
    return SmallEncoder(config, views) if config.name == "small" else ResNet18(config)
