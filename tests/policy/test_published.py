"""Published checkpoints of the three parts, each by itself: bundled, and given to the trainers as they are."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from common.errors import UserError
from policy import bundle, info
from policy.import_official import convert
from policy.load import build
from policy.published import forward_checkpoint
from policy.recipes.forward import ForwardRecipe
from policy.recipes.models import load_forward, load_tokenizer
from tests.tokenizer.golden import load
from tokenizer.tracks.model import MotionTokenizer
from training import checkpoint
from training.hydra_config import parse
from training.published_file import read_published


@pytest.fixture(scope="module")
def vision(golden: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The vision encoder's weights of the published bundle, as a file of their own."""
    weights = load(golden, "bundle_gaussian")["model"]
    path = tmp_path_factory.mktemp("vision") / "resnet18.safetensors"
    found = {
        name.removeprefix("img_encoder."): w.contiguous() for name, w in weights.items() if name.startswith("img_enc")
    }
    save_file(found, path)
    return path


def parts(golden: Path) -> tuple[Path, Path, Path]:
    names = ("motion_tokenizer", "forward_dynamics", "inverse_dynamics_gaussian")
    return tuple(golden / f"ckpt_{name}.pt" for name in names)  # type: ignore[return-value]


def test_golden_checkpoints_bundle_into_the_published_policy(
    golden: Path, vision: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "policy.safetensors"
    paths = zip(("--mt_ckpt", "--fd_ckpt", "--id_ckpt"), map(str, parts(golden)), strict=True)
    options = [word for pair in paths for word in pair]
    bundle.main([*options, "--name", "published", "--out", str(out), "--vision_weights", str(vision)])
    info.main([str(out)])
    assert "imported from ckpt_forward_dynamics.pt" in capsys.readouterr().out
    ours, published = build(checkpoint.read(out)).state_dict(), convert(golden / "bundle_gaussian.pt").state_dict()
    assert ours.keys() == published.keys()
    for name, tensor in published.items():
        torch.testing.assert_close(ours[name], tensor, rtol=0, atol=0, msg=name)


def test_golden_forward_dynamics_is_loaded_beside_its_tokenizer_alone(
    golden: Path, vision: Path, tmp_path: Path
) -> None:
    mt, fd, _ = parts(golden)
    tokenizer, found = load_tokenizer(str(mt))
    assert isinstance(tokenizer, MotionTokenizer)
    load_forward(str(fd), found, str(vision))
    with pytest.raises(UserError, match=r"model\.vision_encoder\.weights=FILE"):
        load_forward(str(fd), found)
    other = load(golden, "ckpt_motion_tokenizer")
    other["model"]["quantize.project_in.weight"] += 1
    torch.save(other, tmp_path / "other.pt")
    with pytest.raises(UserError, match="not of the tokenizer"):
        forward_checkpoint(fd, load_tokenizer(str(tmp_path / "other.pt"))[1], vision)


@pytest.mark.parametrize("name", ["ckpt_with_posixpath_only", "ckpt_with_posixpath_and_listconfig"])
def test_golden_not_weights_only_files_are_read_without_running_code(golden: Path, name: str) -> None:
    found, _ = read_published(golden / "not_weights_only" / f"{name}.pt", "checkpoint")
    assert isinstance(found["config"], dict)


class Runs:
    """A pickle that would run code."""

    def __reduce__(self):
        return print, ("code was run",)


def test_a_pickle_that_would_run_code_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"config": Runs(), "model": {}}, tmp_path / "mt.pt")
    with pytest.raises(UserError, match="cannot be read safely"):
        MotionTokenizer.load(tmp_path / "mt.pt")
    assert capsys.readouterr().out == ""


def test_a_published_file_of_another_kind_is_refused(golden: Path) -> None:
    with pytest.raises(UserError, match="is not a published AMPLIFY motion tokenizer"):
        MotionTokenizer.load(golden / "ckpt_forward_dynamics.pt")


def test_the_published_command_line_names_the_tokenizer() -> None:
    words = ["run_name=x", "train_datasets=[a:traj1]", "forward_dynamics.motion_tokenizer.checkpoint=mt.pt"]
    config = parse(ForwardRecipe.config_type, ForwardRecipe.config_files, words, command="", about="")
    assert config is not None
    assert config.motion_tokenizer_checkpoint == "mt.pt"
