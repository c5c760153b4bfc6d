"""Cutting demonstrations into actions: the command."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from common.errors import UserError
from tests.policy.tiny import make_data
from tests.tokenizer.test_encode import save_tokenizer
from tokenizer import segment

PHASES = np.repeat(np.array([0, 1, 2, 3, 8], np.uint8), [2, 8, 4, 20, 6])
"""wait, reach, grasp, carry, retreat"""


def run(root: Path, *options: str) -> dict:
    roots = ["--demos-root", str(root / "demos"), "--tracks-root", str(root / "tracks"), "--out", str(root / "cuts")]
    segment.main([str(root / "tokenizer.safetensors"), "[tiny:traj1]", *roots, *options])
    return json.loads((root / "cuts" / "segments.json").read_text())


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Demonstrations that know what the hand was doing, and a tokenizer of random weights."""
    root = tmp_path_factory.mktemp("known")
    make_data(root, steps=len(PHASES), phases=PHASES)
    save_tokenizer(root / "tokenizer.safetensors", seed=0)
    return root


def test_every_demonstration_is_cut_drawn_and_scored(known: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = run(known, "--tune", "[tiny:traj0.5]")
    assert len(found["demonstrations"]) == 4
    for demonstration in found["demonstrations"]:
        assert demonstration["true"] == [
            ["reach", 0.1, 0.5],
            ["grasp", 0.5, 0.7],
            ["carry", 0.7, 1.7],
            ["retreat", 1.7, 2.0],
        ]
        ends = [0.0, *(second for pair in demonstration["segments"] for second in pair), 2.0]
        assert ends == sorted(ends)
        drawn = Image.open(known / "cuts" / f"{demonstration['name']}.png")
        assert len(drawn.getcolors(1_000_000)) > 100
    assert set(found["scores"]) >= {"F1 at overlap .5", "F1 at overlap .75"}
    assert found["tuned_on"] == "[tiny:traj0.5]"
    assert "F1 at overlap .5" in capsys.readouterr().out


def test_a_threshold_that_nothing_reaches_cuts_nothing(known: Path) -> None:
    found = run(known, "--threshold", "1e9", "--source", "velocity", "--gate")
    assert all(demonstration["segments"] == [] for demonstration in found["demonstrations"])
    assert found["scores"]["F1 at overlap .5"] == 0


def test_without_known_actions_the_motion_itself_chooses_and_nothing_is_scored(tmp_path: Path) -> None:
    make_data(tmp_path)
    save_tokenizer(tmp_path / "tokenizer.safetensors", seed=0)
    found = run(tmp_path)
    assert found["scores"] == {}
    assert np.isfinite(found["cutting"]["threshold"])
    with pytest.raises(UserError, match="do not say what the hand was doing"):
        run(tmp_path, "--tune", "[tiny:traj0.5]")
