"""The loop that all trainers share: precision, and what is saved when a run goes wrong."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from common.errors import UserError
from tests.training.slope import SlopeRecipe
from training import checkpoint
from training.config import TrainingConfig
from training.recipe import Batch
from training.trainer import Trainer


def config(root: Path, **settings: Any) -> TrainingConfig:
    values = {"run_name": "x", "train_datasets": ("none",), "runs_root": str(root), "num_epochs": None, "batch_size": 8}
    return TrainingConfig(**values | {"accelerator": "cpu", "lr": 0.1, "max_steps": 4, "threads": 1} | settings)


def state(root: Path, run: str = "x") -> dict[str, Any]:
    return torch.load(root / "slope" / run / "latest.state.pt", weights_only=True)


class Spoiled(SlopeRecipe):
    """Its loss is no number in the third step."""

    steps = 0

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        self.steps += 1
        loss, measures = super().loss(batch)
        return loss * (torch.nan if self.steps == 3 else 1), measures


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "16-mixed"])
def test_a_batch_is_not_rounded(tmp_path: Path, precision: str) -> None:
    seen = []

    class Watched(SlopeRecipe):
        def loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
            seen.append(batch["x"].dtype)
            return super().loss(batch)

    Trainer(Watched(config(tmp_path, precision=precision))).fit()
    assert set(seen) == {torch.float32}


def test_half_precision_resumes_with_its_loss_scale(tmp_path: Path) -> None:
    settings = {"precision": "16-mixed", "clip_grad": 1.0}
    Trainer(SlopeRecipe(config(tmp_path, **settings, run_name="whole", max_steps=6))).fit()
    Trainer(SlopeRecipe(config(tmp_path, **settings))).fit()
    assert state(tmp_path)["precision"]["scale"] > 1
    Trainer(SlopeRecipe(config(tmp_path, **settings, resume=True, max_steps=6))).fit()
    whole, halved = state(tmp_path, "whole"), state(tmp_path)
    assert halved["precision"] == whole["precision"]
    assert torch.equal(halved["model"]["weight"], whole["model"]["weight"])


def test_weights_that_are_no_numbers_never_replace_good_ones(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"not finite at step 3; .*latest\.safetensors keeps step 2; .* lower lr"):
        Trainer(Spoiled(config(tmp_path, save_minutes=0.0))).fit()
    kept = checkpoint.read(tmp_path / "slope" / "x" / "latest.safetensors", "slope")
    assert kept.info["step"] == state(tmp_path)["step"] == 2
    assert kept.weights["weight"].isfinite().all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [({}, "weights are not finite at step 4"), ({"log_interval": 3}, "loss is nan at step 3")],
)
def test_a_run_that_diverges_before_it_was_saved_says_so(tmp_path: Path, settings: dict, message: str) -> None:
    with pytest.raises(UserError, match=f"{message}; nothing was saved before"):
        Trainer(Spoiled(config(tmp_path, **settings, clip_grad=1.0))).fit()
    assert not list(tmp_path.rglob("*.safetensors"))


def test_a_resumed_run_that_diverges_keeps_what_it_resumed_from(tmp_path: Path) -> None:
    Trainer(SlopeRecipe(config(tmp_path, max_steps=2))).fit()
    with pytest.raises(UserError, match=r"keeps step 2"):
        Trainer(Spoiled(config(tmp_path, max_steps=6, resume=True))).fit()
    assert state(tmp_path)["step"] == 2
