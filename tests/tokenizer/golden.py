"""Reading the golden data: what the published implementation computes with random weights."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tokenizer.tracks.model import MotionTokenizer


def load(golden: Path, name: str) -> dict[str, Any]:
    return torch.load(golden / f"{name}.pt", weights_only=True)


def close(ours: Tensor, reference: Tensor, tolerance: float = 1e-4) -> bool:
    """Same shape, and nowhere further apart than ``tolerance`` times the largest reference value."""
    return ours.shape == reference.shape and bool((ours - reference).abs().max() <= tolerance * reference.abs().max())


def load_published(module: nn.Module, weights: dict[str, Tensor], absent: str = "") -> nn.Module:
    """Loads published weights; only what follows from the config, or is called ``absent...``, may be missing."""
    kept = {k: v for k, v in weights.items() if not k.endswith((".attn_mask", ".inv_freq"))}
    missing, unexpected = module.load_state_dict(kept, strict=False)
    assert not unexpected
    assert all(absent and name.startswith(absent) for name in missing), missing
    return module.eval()


def tokenizer(golden: Path, name: str) -> tuple[MotionTokenizer, dict[str, Any]]:
    from policy.import_official import tokenizer_config

    data = load(golden, name)
    model = MotionTokenizer(tokenizer_config(data["config"]))
    load_published(model, data["state_dict"])
    return model, data
