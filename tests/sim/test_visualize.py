"""The command that draws predictions: inputs and options, and errors of one line."""

import json
from pathlib import Path

import pytest

from common.errors import UserError
from sim import visualize as command
from tests.policy.tiny import make_data
from tests.sim.examples import save_untrained_bundle


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "say what to look at"),
        (["--demo", "x.hdf5", "--image", "y.png"], "not --demo and --image together"),
        (["--video", "x.mp4"], "needs the instruction"),
        (["--demo", "x.hdf5", "--formats", "bmp"], "unknown format 'bmp'"),
        (["--demo", "x.hdf5", "--every", "0"], "--every: '0' is not a whole number above 0"),
    ],
)
def test_bad_commands_are_one_line(tmp_path: Path, arguments: list[str], message: str):
    save_untrained_bundle(tmp_path / "policy.safetensors")
    with pytest.raises(UserError, match=message):
        command.main([*arguments, "--checkpoint", str(tmp_path / "policy.safetensors"), "--out", str(tmp_path)])


def test_the_command_draws_samples_of_a_bundle(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    save_untrained_bundle(tmp_path / "policy.safetensors")
    make_data(tmp_path, tasks=1, episodes=1, steps=10)
    arguments = ["--demo", f"{tmp_path}/demos/tiny/task_0_demo.hdf5", "--samples", "3", "--formats", "png"]
    command.main([*arguments, "--checkpoint", str(tmp_path / "policy.safetensors"), "--out", str(tmp_path / "out")])
    assert "task_0-demo_0: predictions.json, sheet.png" in capsys.readouterr().out
    assert (tmp_path / "out" / "task_0-demo_0" / "sheet.png").stat().st_size > 1000
    with pytest.raises(UserError, match="no bundle at"):
        command.main([*arguments, "--checkpoint", str(tmp_path / "absent.safetensors")])


def test_a_live_episode_is_played_as_the_evaluation_would(libero_assets: Path, tmp_path: Path):
    save_untrained_bundle(tmp_path / "policy.safetensors")
    arguments = ["--suite", "libero_object", "--task", "0", "--episode", "2", "--max-steps", "2", "--formats", "png"]
    arguments += ["--assets", str(libero_assets), "--checkpoint", str(tmp_path / "policy.safetensors")]
    command.main([*arguments, "--out", str(tmp_path / "out")])
    summary = json.loads((tmp_path / "out/libero_object-task00-episode002/predictions.json").read_text())
    assert summary["text"] == "pick up the alphabet soup and place it in the basket"
    assert len(summary["windows"]) == 1
