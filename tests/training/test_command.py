"""The command that all trainers share: helps, and explains what is wrong with a command line."""

import subprocess
import sys
from pathlib import Path

import pytest

from common.errors import UserError
from policy import train_forward, train_inverse
from tokenizer import train


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run_name=x"], "train_datasets has to be given"),
        (["nonsense"], "settings are written key=value"),
        (["run_name=x", "nonsense=1"], "Could not override 'nonsense'"),
        (["--config-name", "huge"], "no config named 'huge'.*default, laps, small"),
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


@pytest.mark.parametrize(
    ("main", "kind", "configs"),
    [
        (train_forward.main, "forward", "forward,forward_small"),
        (train_inverse.main, "inverse", "inverse,inverse_codes,inverse_small"),
    ],
)
def test_help_names_the_command_and_its_own_configs_only(
    main, kind: str, configs: str, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["--help"])
    usage = capsys.readouterr().out.splitlines()[0]
    assert usage.startswith(f"usage: python -m policy.train_{kind} [--config-name {{{configs}}}]")


def test_a_command_ends_with_one_line_and_status_2(tmp_path: Path) -> None:
    arguments = ["run_name=x", "train_datasets=[nothing:traj1]", f"demos_root={tmp_path}"]
    done = subprocess.run([sys.executable, "-m", "tokenizer.train", *arguments], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("error: no demonstrations")
    assert len(done.stderr.strip().splitlines()) == 1
