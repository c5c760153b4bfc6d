"""The image encoder of the published recipe, which tokenizers and policies share: the feature map of a ResNet.

Weights are torchvision's or timm's (He et al., 2015; neither library is needed), as a file or from the hub.
"""

from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from common.pretrained import find_weights, load_into, read_weights

ResNetName = Literal["resnet18", "resnet34", "resnet50"]


def to_planes(images: Tensor, size: int) -> Tensor:
    """(b, h, w, 3) -> (b, 3, size, size) without copying when the size fits; memory stays channels-last."""
    planes = images.movedim(-1, 1)
    if planes.shape[-2:] == (size, size):
        return planes
    return F.interpolate(planes.float(), (size, size), mode="bilinear", align_corners=False)


_PLACES = {"conv1": "0", "bn1": "1", "layer1": "4", "layer2": "5", "layer3": "6", "layer4": "7"}
"""of a ResNet's parts in ``ResNet.model``"""


def _downsample(channels: int, out: int, stride: int) -> nn.Module | None:
    if stride == 1 and channels == out:
        return None
    return nn.Sequential(nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out))


class _BasicBlock(nn.Module):
    expansion = 1

    def __init__(self, channels: int, width: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = _downsample(channels, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


class _Bottleneck(nn.Module):
    expansion = 4

    def __init__(self, channels: int, width: int, stride: int):
        super().__init__()
        out = self.expansion * width
        self.conv1 = nn.Conv2d(channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, out, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out)
        self.downsample = _downsample(channels, out, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))))
        return F.relu(self.bn3(self.conv3(y)) + (x if self.downsample is None else self.downsample(x)))


_BLOCKS: dict[ResNetName, tuple[type[_BasicBlock] | type[_Bottleneck], tuple[int, ...]]] = {
    "resnet18": (_BasicBlock, (2, 2, 2, 2)),
    "resnet34": (_BasicBlock, (3, 4, 6, 3)),
    "resnet50": (_Bottleneck, (3, 4, 6, 3)),
}
"""the kind of block, and how many of them there are at each of the four resolutions"""


class ResNet(nn.Module):
    """Images (b, v, h, w, 3), float in [0, 1] -> tokens (b, v, t, e): the cells of a ResNet's last feature map.

    The statistics of its normalisation are frozen, and so are its weights unless it ``trains``. Images are resized to a
    square of ``image_size`` pixels (bilinear, no antialiasing, no crop); no mean or variance is taken off them.
    """

    def __init__(self, image_size: int = 224, name: ResNetName = "resnet18", trains: bool = False):
        super().__init__()
        self.name, self.size = name, image_size
        self.num_tokens = (image_size // 32) ** 2
        block, counts = _BLOCKS[name]
        self.embed_dim = 512 * block.expansion
        stages, channels = [], 64
        for stage, count in enumerate(counts):
            width = 64 * 2**stage
            blocks = [block(channels, width, 1 if stage == 0 else 2)]
            channels = width * block.expansion
            blocks += [block(channels, width, 1) for _ in range(count - 1)]
            stages.append(nn.Sequential(*blocks))
        stem = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
        self.model = nn.Sequential(*stem, *stages)
        self.requires_grad_(trains).eval()

    def load_pretrained(self, source: str) -> None:
        """Weights of torchvision's or timm's model of the same name, or of this module; what belongs to a classifier
        is dropped. ``source`` is a file, a folder, or a name on the hub (see ``common.pretrained``).

        Raises:
            UserError: they cannot be had, or are not those of this ResNet.
        """
        path = find_weights(source)
        weights = {}
        for name, tensor in read_weights(path).items():
            part, _, rest = name.removeprefix("model.").partition(".")
            if part != "fc":
                weights[f"model.{_PLACES.get(part, part)}.{rest}"] = tensor
        load_into(self, weights, path, self.name)

    def train(self, mode: bool = True) -> "ResNet":
        """Stays in eval mode, which concerns the statistics of its normalisation alone."""
        return super().train(False)

    def forward(self, images: Tensor, text: Tensor | None = None) -> Tensor:
        """(b, v, h, w, 3) -> (b, v, t, e); ``text`` is not looked at."""
        features = self.model(to_planes(images.flatten(0, 1).float(), self.size))
        return features.flatten(2).transpose(1, 2).unflatten(0, images.shape[:2])
