"""Curves go to TensorBoard, and to Weights & Biases if asked; pictures into files too."""

import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from common.errors import UserError
from training.config import TrainingConfig
from training.curves import Curves

CONFIG = TrainingConfig(run_name="x", train_datasets=())
WITH_WANDB = TrainingConfig(run_name="x", train_datasets=(), use_wandb=True)


def board(folder: Path) -> EventAccumulator:
    return EventAccumulator(str(folder), {"scalars": 0, "images": 0}).Reload()


def test_scalars_and_pictures_are_on_the_board_and_pictures_in_files(tmp_path: Path) -> None:
    curves = Curves(CONFIG, tmp_path, 0)
    picture = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    curves.scalars({"loss": 2.0}, 5)
    (path,) = curves.pictures({"overlay": picture}, 5)
    curves.close()
    assert [(event.step, event.value) for event in board(tmp_path).Scalars("loss")] == [(5, 2.0)]
    assert board(tmp_path).Tags()["images"] == ["overlay"]
    assert np.array_equal(np.asarray(Image.open(path)), picture)
    assert path == tmp_path / "pictures" / "overlay_0000005.png"


def test_what_a_killed_run_told_after_its_last_save_is_forgotten(tmp_path: Path) -> None:
    for first, values in ((0, [1.0, 2.0, 3.0, 4.0]), (2, [30.0])):
        time.sleep(1.1)  # the files of a run are ordered by the second they were begun in
        curves = Curves(CONFIG, tmp_path, first)
        for step, value in enumerate(values, first + 1):
            curves.scalars({"loss": value}, step)
        curves.close()
    events = board(tmp_path).Scalars("loss")
    assert [(event.step, event.value) for event in events] == [(1, 1.0), (2, 2.0), (3, 30.0)]


def test_weights_and_biases_that_is_not_installed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(UserError, match="needs wandb, which is not installed; run 'pip install wandb'"):
        Curves(WITH_WANDB, tmp_path, 0)


def test_a_resumed_run_is_the_same_run_on_weights_and_biases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    names = set()
    for _ in range(2):
        curves = Curves(WITH_WANDB, tmp_path, 0)
        curves.scalars({"loss": 2.0}, 1)
        curves.pictures({"overlay": np.zeros((4, 4, 3), np.uint8)}, 1)
        curves.close()
        names.add((tmp_path / "wandb_run_id.txt").read_text())
    assert len(names) == 1
    assert list((tmp_path / "wandb").glob(f"offline-run-*-{names.pop()}"))
