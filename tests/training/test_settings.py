"""Configuration: typed, and nothing that nobody reads is accepted."""

import subprocess
import sys
from pathlib import Path

import pytest

from common.errors import UserError
from tokenizer import train
from tokenizer.tracks.model import TokenizerConfig
from training.settings import from_mapping


def test_a_config_survives_being_stored_as_a_mapping() -> None:
    config = TokenizerConfig(num_tracks=16, causal_encoder="diag")
    assert from_mapping(TokenizerConfig, config.to_dict(), "here") == config


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"num_trakcs": 4}, "unknown setting 'num_trakcs'"),
        ({"num_tracks": "many"}, "num_tracks must be int, not 'many'"),
        ({"img_shape": [128]}, "img_shape must have 2 entries"),
        ({"cond_on_img": True}, "image-conditioned tokenizers are not supported"),
        ({"causal_encoder": "sideways"}, "use true, false or diag"),
        ({"views": ["top"]}, "loss_weights has no entry for the view 'top'"),
    ],
)
def test_a_wrong_setting_is_named(values: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        from_mapping(TokenizerConfig, values, "here")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run_name=x"], "train_datasets has to be given"),
        (["nonsense"], "settings are written key=value"),
        (["run_name=x", "nonsense=1"], "Could not override 'nonsense'"),
        (["--config-name", "huge"], "no config named 'huge'.*default, small"),
        (["run_name=x", "train_datasets=[a:traj1]", "model.hidden_dim=wide"], "hidden_dim must be int"),
    ],
)
def test_a_wrong_command_line_is_explained(arguments: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        train.main(arguments)


def test_help_shows_every_setting(capsys: pytest.CaptureFixture[str]) -> None:
    train.main(["--help"])
    shown = capsys.readouterr().out
    assert "usage: python -m tokenizer.train" in shown
    assert "  hidden_dim: 768" in shown
    assert "run_name: ???" in shown


def test_a_command_ends_with_one_line_and_status_2(tmp_path: Path) -> None:
    arguments = ["run_name=x", "train_datasets=[nothing:traj1]", f"demos_root={tmp_path}"]
    done = subprocess.run([sys.executable, "-m", "tokenizer.train", *arguments], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("error: no demonstrations")
    assert len(done.stderr.strip().splitlines()) == 1
