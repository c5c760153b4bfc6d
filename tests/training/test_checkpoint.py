"""Checkpoints: what is written is read back; whatever does not fit is refused in one line that says why."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from training import checkpoint
from training.checkpoint import CheckpointError


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    checkpoint.save(path, "motion_tokenizer", {"size": 3}, nn.Linear(3, 2).state_dict(), {"step": 7})
    return path


def test_what_is_saved_is_read_back(tmp_path: Path) -> None:
    model, path = nn.Linear(3, 2), tmp_path / "model.safetensors"
    digest = checkpoint.save(path, "bundle", {"size": 3}, model.state_dict(), {"step": 7})
    found = checkpoint.read(path, "bundle")
    assert (found.config, found.info, found.digest) == ({"size": 3}, {"step": 7}, digest)
    other = nn.Linear(3, 2)
    checkpoint.load_weights(other, found)
    assert torch.equal(other.weight, model.weight)
    assert [file.name for file in tmp_path.iterdir()] == ["model.safetensors"]


def test_embeddings_of_instructions_are_kept_apart_from_weights(tmp_path: Path) -> None:
    model, path = nn.Linear(3, 2), tmp_path / "model.safetensors"
    embeddings = {"open it": torch.randn(4), "öffne: es/jetzt": torch.randn(4)}
    checkpoint.save(path, "bundle", {}, model.state_dict(), text_embeddings=embeddings)
    found = checkpoint.read(path, "bundle")
    checkpoint.load_weights(model, found)
    assert found.text_embeddings.keys() == embeddings.keys()
    assert all(torch.equal(found.text_embeddings[text], embeddings[text]) for text in embeddings)


def test_a_shared_tensor_is_stored_once() -> None:
    inner = nn.Linear(2, 2)
    model = nn.ModuleDict({"a": inner, "b": inner})
    assert sorted(checkpoint.unique_weights(model)) == ["a.bias", "a.weight"]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no checkpoint at .*nowhere"):
        checkpoint.read(tmp_path / "nowhere.safetensors", "bundle")


def test_a_checkpoint_of_another_kind_is_refused(saved: Path) -> None:
    with pytest.raises(CheckpointError, match="holds a motion_tokenizer checkpoint where a bundle one is needed"):
        checkpoint.read(saved, "bundle")


@pytest.mark.parametrize("length", [0, 4, 100, -1])
def test_a_truncated_file_is_refused(saved: Path, length: int) -> None:
    saved.write_bytes(saved.read_bytes()[:length])
    with pytest.raises(CheckpointError, match="truncated"):
        checkpoint.read(saved, "motion_tokenizer")


def test_somebody_elses_safetensors_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    save_file({"x": torch.zeros(1)}, path)
    with pytest.raises(CheckpointError, match="not one of our checkpoints"):
        checkpoint.read(path, "bundle")


def test_an_unknown_format_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "future.safetensors"
    save_file({"x": torch.zeros(1)}, path, {"amplify": json.dumps({"kind": "bundle", "format_version": 99})})
    with pytest.raises(CheckpointError, match="format version 99"):
        checkpoint.read(path, "bundle")


def test_a_pickle_is_pointed_to_the_importer(tmp_path: Path) -> None:
    path = tmp_path / "official.pt"
    path.write_bytes(b"x")
    with pytest.raises(CheckpointError, match=r"python -m policy\.import_official"):
        checkpoint.read(path, "bundle")


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (nn.Linear(3, 2, bias=False), "unexpected weight bias"),
        (nn.Linear(4, 2), r"the weight weight has shape \(2, 3\), its config says \(2, 4\)"),
        (nn.Sequential(nn.Linear(3, 2)), "lacks the weight 0.bias"),
    ],
)
def test_weights_that_do_not_fit_are_named(saved: Path, model: nn.Module, message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        checkpoint.load_weights(model, checkpoint.read(saved, "motion_tokenizer"))
