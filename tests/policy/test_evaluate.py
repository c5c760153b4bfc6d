"""The command that measures codes: tokenizer and forward dynamics, on demonstrations with tracks."""

import json
from pathlib import Path

import pytest
import torch

from common.errors import UserError
from policy.bundle import save_bundle
from policy.evaluate import main
from tests.policy.tiny import make_data, make_policy

TEXTS = ("open drawer number 0", "open drawer number 1")


@pytest.fixture
def arguments(tmp_path: Path) -> list[str]:
    make_data(tmp_path, steps=4)
    places = {"--demos-root": tmp_path / "demos", "--tracks-root": tmp_path / "tracks", "--out": tmp_path / "out.json"}
    words = ["--datasets", "[tiny:traj1]", *(str(word) for place in places.items() for word in place)]
    return [*words, "--checkpoint", str(tmp_path / "policy.safetensors")]


@pytest.mark.parametrize("text", ["words", "preprocessed"])
def test_decoded_and_predicted_motion_is_measured_beside_standing_still(
    tmp_path: Path, arguments: list[str], capsys: pytest.CaptureFixture[str], text: str
) -> None:
    policy = make_policy(text, name="tiny", text_embeddings={text: torch.randn(512) for text in TEXTS})
    save_bundle(policy, tmp_path / "policy.safetensors")
    main([*arguments, "--frames", "20"])
    shown = capsys.readouterr().out
    assert "on [tiny:traj1]: 4 episodes, 16 frames" in shown
    assert shown.count("tracks (standing still)  all                     agentview               eye_in_hand") == 2
    found = json.loads((tmp_path / "out.json").read_text())
    assert 0 <= found["predicted"]["teacher_forced_code_accuracy"] <= 1
    assert 0 <= found["predicted"]["greedy_code_accuracy"] <= 1
    assert found["decoded"]["still/mse"] == pytest.approx(found["predicted"]["still/mse"])
    assert found["policy"]["name"] == "tiny"


def test_tracks_of_other_points_are_refused(tmp_path: Path, arguments: list[str]) -> None:
    from tests.sim.examples import save_untrained_bundle

    save_untrained_bundle(tmp_path / "policy.safetensors")
    with pytest.raises(UserError, match="follows 4 points a view, the tracks have 16"):
        main(arguments)
