"""Vision transformers through ``transformers``: ViT (Dosovitskiy et al., 2021) and DINOv2 (Oquab et al., 2024)."""

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from common.errors import require
from common.pretrained import find_weights, read_weights
from common.transformers_models import from_weights, transformers
from tokenizer.resnet import to_planes

Kind = Literal["vit", "dinov2"]
_CLASSES = {"vit": ("ViTConfig", "ViTModel"), "dinov2": ("Dinov2Config", "Dinov2Model")}
_PIXELS = {
    "vit": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "dinov2": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}
"""mean and deviation of the colours, as their weights were trained with"""
_OPTIONS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "vit": ({"add_pooling_layer": False}, {"interpolate_pos_encoding": True}),
    "dinov2": ({}, {}),
}
"""of making a model, and of asking it; DINOv2 fits its positions to the image by itself"""


class TransformersVision(nn.Module):
    """Images (b, v, h, w, 3), float in [0, 1] -> tokens (b, v, t, e), one for each patch.

    ``architecture`` is the model's configuration, as ``config.json`` has it. Images are resized to a square of
    ``image_size`` pixels, to which the model's positions are fitted. In eval mode always; frozen unless it ``trains``.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, kind: Kind, image_size: int, architecture: Mapping[str, Any], trains: bool):
        super().__init__()
        library = transformers(kind)
        config_class, model_class = (getattr(library, name) for name in _CLASSES[kind])
        self._class, (self._made_with, self._asked_with) = model_class, _OPTIONS[kind]
        config = config_class.from_dict(dict(architecture))
        require(
            image_size % config.patch_size == 0,
            f"vision_encoder.image_size={image_size} is no multiple of the {config.patch_size} pixels of a patch",
        )
        self.model = model_class(config, **self._made_with)
        self.size, self.embed_dim = image_size, config.hidden_size
        self.num_tokens = (image_size // config.patch_size) ** 2
        for name, values in zip(("mean", "std"), _PIXELS[kind], strict=True):
            self.register_buffer(name, torch.tensor(values)[:, None, None], persistent=False)
        self.requires_grad_(trains).eval()

    def load_pretrained(self, source: str) -> None:
        """Weights of ``source``: a file, a folder, or a name on the hub (see ``common.pretrained``).

        Raises:
            UserError: they cannot be had, or do not fit the architecture.
        """
        path = find_weights(source)
        found = from_weights(self._class, self.model.config, read_weights(path), path, **self._made_with)
        self.model.load_state_dict(found.state_dict())

    def train(self, mode: bool = True) -> "TransformersVision":
        """Stays in eval mode: nothing is dropped out of it."""
        return super().train(False)

    def forward(self, images: Tensor, text: Tensor | None = None) -> Tensor:
        """(b, v, h, w, 3) -> (b, v, t, e); ``text`` is not looked at."""
        planes = (to_planes(images.flatten(0, 1).float(), self.size) - self.mean) / self.std
        tokens = self.model(planes, **self._asked_with).last_hidden_state[:, 1:]  # the first is of no patch
        return tokens.unflatten(0, images.shape[:2])
