"""The page of a training run: curves, pictures, and what a tokenizer makes of held-out motion."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from sim.report.training_page import write_training


def test_a_training_run_becomes_one_page(tmp_path: Path):
    board = pytest.importorskip("torch.utils.tensorboard", reason="TensorBoard is not installed")
    with board.SummaryWriter(str(tmp_path)) as writer:
        for step in range(5):
            writer.add_scalar("loss", 5 - step, step)
            writer.add_scalar("val/delta_auc", step / 5, step)
        writer.add_image("overlay", np.zeros((3, 8, 8), np.uint8), 4)
    (tmp_path / "log.txt").write_text("step 4 <done>\n")
    page = write_training(tmp_path, tmp_path / "report").read_text()
    assert "loss: 1 at the end" in page
    assert "val/delta_auc: 0.8 at the end" in page
    assert "data:image/png;base64," in page
    assert "step 4 &lt;done&gt;" in page


def test_a_tokenizer_shows_what_it_makes_of_held_out_motion(tmp_path: Path):
    from tests.policy.tiny import common, latest, make_data, tokenizer_overrides
    from tokenizer import train

    make_data(tmp_path, tasks=1, steps=12)
    train.main([*tokenizer_overrides(), *common(tmp_path, max_steps=2)])
    run = latest(tmp_path, "motion_tokenizer").parent
    page = write_training(run, tmp_path / "report").read_text()
    assert page.count("open drawer number 0: true, decoded of each view") == 2 * 4  # as alternative text and caption
    shutil.rmtree(tmp_path / "demos")
    assert "No pictures of decoded motion" in write_training(run, tmp_path / "report").read_text()
