"""Files of pretrained weights that are not what they should be are refused with the reason; their code does not run."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from common.errors import UserError
from common.pretrained import find_weights, read_config, read_weights
from demos.t5 import T5Encoder
from policy.vision import VisionConfig, VisionEncoder, build_vision_encoder
from tests.policy.pretrained import write_resnet, write_t5, write_vision_transformer

KINDS = ("resnet18", "vit", "dinov2", "t5")


class Runs:
    """A pickle that would run code."""

    def __reduce__(self):
        return print, ("code was run",)


def pretrained(folder: Path, kind: str) -> tuple[Path, Callable[[str], object]]:
    """The file of weights of such an encoder, and what opens it."""
    if kind == "t5":
        return write_t5(folder) / "model.safetensors", T5Encoder.pretrained
    source = write_resnet(folder) if kind == "resnet18" else write_vision_transformer(folder, kind)

    def opened(path: str) -> VisionEncoder:
        config = VisionConfig(kind, 32, weights=path).resolved()  # type: ignore[arg-type]
        encoder = build_vision_encoder(config, 2)
        encoder.load_pretrained(path)  # type: ignore[union-attr, operator]
        return encoder

    return (source / "model.safetensors" if source.is_dir() else source), opened


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_files_are_refused_with_their_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    path, opened = pretrained(tmp_path, kind)
    opened(str(path))
    whole, weights = path.read_bytes(), {name: w.clone() for name, w in load_file(path).items()}  # not the file itself
    ends = ("model.0.weight", "query.weight", "encoder.block.0.layer.0.SelfAttention.q.weight")
    first = next(name for name in weights if name.endswith(ends))

    def refused(match: str, name: str = path.name) -> None:
        with pytest.raises(UserError, match=match):
            opened(str(path.with_name(name)))

    path.write_bytes(whole[: len(whole) // 2])
    refused("cannot read weights from")
    path.write_bytes(b"\xff" * 64)
    refused("cannot read weights from")
    save_file({**weights, first: weights[first][:1].contiguous()}, path)
    refused("does not fit its configuration|does not hold resnet18 weights")
    save_file({name: w for name, w in weights.items() if name != first}, path)
    refused("lacks the weight|does not hold resnet18 weights")
    save_file({**weights, first: weights[first] * torch.nan}, path)
    refused("is not finite")
    torch.save({**weights, "more": Runs()}, path.with_name("model.pth"))
    refused("cannot read weights from", "model.pth")
    path.with_name("model.pth").write_bytes(b"not a pickle")
    refused("cannot read weights from", "model.pth")
    torch.save([1, 2], path.with_name("model.pth"))
    refused("does not hold weights", "model.pth")
    refused("no file of weights", "elsewhere.safetensors")
    torch.save(weights, path.with_name("model.pth"))
    opened(str(path.with_name("model.pth")))  # the same as a pickle of tensors alone
    assert "code was run" not in capsys.readouterr().out


def test_a_pretrained_folder_says_what_it_lacks(tmp_path: Path) -> None:
    folder = write_vision_transformer(tmp_path, "vit")
    assert read_config(str(folder), "vit")["patch_size"] == 16
    with pytest.raises(UserError, match="describes a model of type vit, not dinov2"):
        read_config(str(folder), "dinov2")
    (folder / "config.json").write_text("{")
    with pytest.raises(UserError, match=r"cannot read .*config\.json"):
        read_config(str(folder), "vit")
    (folder / "config.json").unlink()
    with pytest.raises(UserError, match=r"has no config\.json"):
        read_config(str(folder), "vit")
    (folder / "model.safetensors").unlink()
    with pytest.raises(UserError, match=r"has no model\.safetensors and no pytorch_model\.bin"):
        find_weights(str(folder))


def test_what_the_hub_does_not_give_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match=r"the hub does not give its model\.safetensors .* name a file or a folder"):
        find_weights("nobody/has_this")


def test_without_transformers_the_error_names_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_vision_transformer(tmp_path, "dinov2")
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(UserError, match=r"pip install 'amplify-deploy\[encoders\]'"):
        build_vision_encoder(VisionConfig("dinov2", 32, weights=str(folder)).resolved(), 2)


def test_neither_torchvision_nor_timm_nor_transformers_is_imported_by_the_policy() -> None:
    import subprocess

    code = "import sys, policy.load, policy.recipes.inverse, demos.preprocess\n"
    code += "print([m for m in ('torchvision', 'timm', 'transformers') if m in sys.modules])"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"


def test_a_pickle_of_weights_is_read_without_its_optimizer_friends(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(2), "b": 3}, tmp_path / "w.pth")
    with pytest.raises(UserError, match="does not hold weights"):
        read_weights(tmp_path / "w.pth")
