"""The frozen image encoder of the published recipe, which tokenizers and policies share: ResNet-18's feature map."""

import pickle
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from common.errors import UserError


def to_planes(images: Tensor, size: int) -> Tensor:
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
    """Images (b, v, h, w, 3), float in [0, 1] -> tokens (b, v, t, 512): the cells of ResNet-18's last feature map.

    Always in eval mode (He et al., 2015). Images are resized to a square of ``image_size`` pixels (bilinear, no
    antialiasing, no crop); no mean or variance is taken off them.
    """

    embed_dim = 512

    def __init__(self, image_size: int = 224):
        super().__init__()
        self.size = image_size
        self.num_tokens = (image_size // 32) ** 2
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
        features = self.model(to_planes(images.flatten(0, 1).float(), self.size))
        return features.flatten(2).transpose(1, 2).unflatten(0, images.shape[:2])
