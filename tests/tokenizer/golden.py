"""Reading the golden data: what the published implementation computes with random weights."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tokenizer.tracks.model import MotionTokenizer
from tokenizer.tracks.published import tokenizer_config


def load(golden: Path, name: str) -> dict[str, Any]:
    return torch.load(golden / f"{name}.pt", weights_only=True)


def close(ours: Tensor, reference: Tensor, tolerance: float = 1e-4) -> bool:
    """Same shape, and nowhere further apart than ``tolerance`` times the largest reference value."""
    return ours.shape == reference.shape and bool((ours - reference).abs().max() <= tolerance * reference.abs().max())


def load_published(module: nn.Module, weights: dict[str, Tensor], absent: str | tuple[str, ...] = ()) -> nn.Module:
    """Loads published weights; only what follows from the config, or is called ``absent...``, may be missing."""
    kept = {k: v for k, v in weights.items() if not k.endswith((".attn_mask", ".inv_freq"))}
    missing, unexpected = module.load_state_dict(kept, strict=False)
    assert not unexpected
    assert all(name.startswith(absent) for name in missing), missing
    return module.eval()


def tokenizer(golden: Path, name: str, **changed: Any) -> tuple[MotionTokenizer, dict[str, Any]]:
    """The published model ``name``, with ``changed`` options, and what the file holds."""
    data = load(golden, name)
    weights = data["state_dict"]
    if data["config"]["cond_on_img"]:
        # the vision encoder's weights are stored once, in the bundle
        bundle = load(golden, "bundle_gaussian")["model"]
        prefix = "img_encoder."
        weights |= {name.replace(prefix, "vis_enc.", 1): w for name, w in bundle.items() if name.startswith(prefix)}
    model = MotionTokenizer(replace(tokenizer_config(data["config"]), **changed))
    load_published(model, weights)
    return model, data
