"""The command that tells what a checkpoint is."""

from pathlib import Path

import pytest
import torch

from common.errors import UserError
from demos.origin import Origin
from policy import DEFAULT_BUNDLE
from policy.bundle import save_bundle
from policy.info import main
from tests.policy.tiny import common, latest, make_data, make_policy, tokenizer_overrides
from tokenizer import train


def test_the_default_bundle_tells_what_it_needs_and_how_its_parts_were_trained(
    capsys: pytest.CaptureFixture[str],
) -> None:
    main([str(DEFAULT_BUNDLE)])
    told = capsys.readouterr().out
    assert "default.safetensors: bundle, hash" in told
    assert "takes images of agentview and eye_in_hand, 128 x 128" in told
    assert "takes the instruction as words" in told
    assert "gives 16 actions of 7 numbers" in told
    for part in ("motion_tokenizer", "forward_dynamics", "inverse_dynamics"):
        assert f"\n{part}: hash" in told
    assert "trained on libero_10:traj" in told
    assert max(map(len, told.splitlines()[1:])) <= 120


@pytest.mark.parametrize(
    ("text", "known", "message"),
    [
        ("words", [], "takes the instruction as words"),
        ("preprocessed", [], "as text: all alike to it"),
        ("preprocessed", ["open it", "close it"], "as text: one of the 2 it knows"),
    ],
)
def test_a_bundle_tells_its_instructions_and_assets(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, known: list[str], message: str
) -> None:
    embeddings = {instruction: torch.zeros(512) for instruction in known}
    policy = make_policy(text, origin=Origin(("wipe it",), ("9a1f",)), text_embeddings=embeddings)
    save_bundle(policy, tmp_path / "policy.safetensors")
    main([str(tmp_path / "policy.safetensors")])
    told = capsys.readouterr().out
    assert message in told
    assert "learned from images of the assets 9a1f\n1 instructions:\n  wipe it\n" in told


def test_a_training_checkpoint_tells_its_run_and_its_measures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_data(tmp_path, tasks=1, steps=4)
    train.main([*tokenizer_overrides(), *common(tmp_path, max_steps=1)])
    main([str(latest(tmp_path, "motion_tokenizer"))])
    told = capsys.readouterr().out
    assert "latest.safetensors: motion_tokenizer, hash" in told
    assert "run_name tiny, lr 0.001" in told
    assert "tracks (standing still)" in told


def test_what_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no checkpoint at"):
        main([str(tmp_path / "absent.safetensors")])
