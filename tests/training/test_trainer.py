"""The loop of all trainers: precision, what it tells, draws and keeps, and what is left when a run goes wrong."""

from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor

from common.errors import UserError
from tests.training.counting import BATCH, SAMPLES, CountingRecipe
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


def counting(root: Path, **settings: Any) -> TrainingConfig:
    """For a recipe that counts: four epochs in six steps, batches in three parts."""
    return config(
        root,
        **{"gpu_max_bs": 3, "num_epochs": 4, "max_steps": None, "precision": "32-true", "lr": 1e-3}
        | {"log_interval": 1, "val_interval": 2, "val_batches": 1}
        | settings,
    )


def scalars(folder: Path, name: str) -> dict[int, float]:
    events = EventAccumulator(str(folder), {"scalars": 0}).Reload().Scalars(name)
    assert len({event.step for event in events}) == len(events), f"{name} is told twice"
    return {event.step: event.value for event in events}


def test_counts_are_of_whole_batches_and_whole_epochs(tmp_path: Path) -> None:
    Trainer(CountingRecipe(counting(tmp_path))).fit()
    folder = tmp_path / "counting" / "x"
    assert set(scalars(folder, "drawn_step").values()) == {BATCH}
    assert scalars(folder, "different_step")[1] == BATCH
    # an epoch's last batch runs into the next: 12 samples are 16, 8, 16, 8 drawn ones
    assert list(scalars(folder, "drawn_epoch").values()) == [16, 8, 16, 8]
    assert scalars(folder, "different_epoch")[2] == SAMPLES
    assert set(scalars(folder, "train/seen").values()) == {BATCH}


def test_snapshots_are_kept_every_so_many_epochs(tmp_path: Path) -> None:
    Trainer(CountingRecipe(counting(tmp_path, save_interval=2))).fit()
    found = {path.stem for path in (tmp_path / "counting" / "x").glob("*.safetensors")}
    assert found == {"latest", "2", "4"}


@pytest.mark.parametrize(("best_is", "loss", "step"), [("lowest", 1.0, 4), ("highest", 3.0, 2)])
def test_the_best_checkpoint_by_a_measure_is_kept(tmp_path: Path, best_is: str, loss: float, step: int) -> None:
    Trainer(CountingRecipe(counting(tmp_path, num_epochs=6, best_measure="loss", best_is=best_is))).fit()
    best = checkpoint.read(tmp_path / "counting" / "x" / "best.safetensors", "counting")
    assert (best.info["metrics"]["loss"], best.info["step"]) == (loss, step)


def test_a_measure_that_is_not_taken_cannot_be_the_best(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="best_measure=accuracy is not measured in validation; there are loss"):
        Trainer(CountingRecipe(counting(tmp_path, best_measure="accuracy"))).fit()


def test_pictures_are_drawn_every_so_many_steps(tmp_path: Path) -> None:
    Trainer(CountingRecipe(counting(tmp_path, vis_interval=4))).fit()
    found = sorted(path.name for path in (tmp_path / "counting" / "x" / "pictures").iterdir())
    assert found == ["grey_0000004.png", "grey_0000006.png"]


def test_a_resumed_run_continues_the_latest_of_its_name_and_its_epoch(tmp_path: Path) -> None:
    Trainer(CountingRecipe(counting(tmp_path))).fit()
    Trainer(CountingRecipe(counting(tmp_path, max_steps=3))).fit()
    Trainer(CountingRecipe(counting(tmp_path, resume=True))).fit()
    whole, halved = tmp_path / "counting" / "x", tmp_path / "counting" / "x_1"
    for name in ("loss", "drawn_epoch", "different_epoch"):
        assert scalars(halved, name) == scalars(whole, name)
    assert sorted(path.name for path in tmp_path.glob("counting/*")) == ["x", "x_1"]


def test_a_run_that_ended_before_it_saved_anything_starts_again(tmp_path: Path) -> None:
    Trainer(CountingRecipe(counting(tmp_path)))
    Trainer(CountingRecipe(counting(tmp_path, resume=True))).fit()
    assert scalars(tmp_path / "counting" / "x", "loss").keys() == set(range(1, 7))


@pytest.mark.slow
def test_a_compiled_model_learns_the_same(tmp_path: Path) -> None:
    Trainer(CountingRecipe(counting(tmp_path))).fit()
    Trainer(CountingRecipe(counting(tmp_path, compile=True))).fit()
    plain, compiled = (scalars(tmp_path / "counting" / name, "loss") for name in ("x", "x_1"))
    assert compiled == pytest.approx(plain, rel=1e-4)
