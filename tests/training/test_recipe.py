"""What a recipe gets for free: measures on evenly spread validation samples, averaged. And what it takes to be one."""

from pathlib import Path

import pytest
import torch

from tests.training.slope import SlopeRecipe
from training import checkpoint
from training.command import training_command
from training.config import TrainingConfig
from training.hydra_config import ConfigFiles

CONFIG = TrainingConfig(run_name="x", train_datasets=())
CPU = torch.device("cpu")


def test_validation_samples_are_picked_evenly_and_measures_averaged() -> None:
    recipe = SlopeRecipe(CONFIG)
    assert recipe.evaluate(recipe.model, 2, CPU) == {"first": 2.5, "last": 6.0}
    assert recipe.seen == [0, 1, 2, 3, 5, 6, 7, 9]


def test_few_validation_samples_are_used_as_often_as_needed() -> None:
    recipe = SlopeRecipe(CONFIG, num_validation_samples=1)
    assert recipe.evaluate(recipe.model, 3, CPU) == {"first": 0, "last": 0}
    assert recipe.seen == [0, 0, 0]


def test_without_validation_samples_there_are_no_measures() -> None:
    recipe = SlopeRecipe(CONFIG, num_validation_samples=0)
    assert recipe.evaluate(recipe.model, 2, CPU) == {}


def test_the_seed_decides_the_first_weights() -> None:
    assert torch.equal(SlopeRecipe(CONFIG).model.weight, SlopeRecipe(CONFIG).model.weight)


@pytest.fixture
def slope(tmp_path: Path) -> type[SlopeRecipe]:
    (tmp_path / "default.yaml").write_text("defaults: [base, _self_]\nlr: 0.1\nnum_epochs: null\n")

    class Configured(SlopeRecipe):
        config_files = ConfigFiles(tmp_path)

    return Configured


def test_a_recipe_is_all_that_a_trainer_needs(slope: type[SlopeRecipe], tmp_path: Path) -> None:
    main = training_command(slope, "tests.slope", "Trains a slope.")
    main(["run_name=steep", "train_datasets=[none]", f"runs_root={tmp_path}", "max_steps=60", "batch_size=8"])
    found = checkpoint.read(tmp_path / "slope" / "steep" / "latest.safetensors", "slope")
    assert found.weights["weight"].item() == pytest.approx(3, abs=0.5)
    assert found.info["metrics"]["first"] >= 0
