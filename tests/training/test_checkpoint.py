"""Checkpoints: what is written is read back; whatever does not fit is refused in one line that says why."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
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


def test_a_checkpoint_that_does_not_fit_leaves_the_model_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    checkpoint.save(path, "bundle", {}, {"0.weight": torch.ones(2, 2), "1.weight": torch.ones(3, 2)})
    model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False))
    before = [weight.clone() for weight in model.parameters()]
    with pytest.raises(CheckpointError, match=r"1\.weight has shape \(3, 2\)"):
        checkpoint.load_weights(model, checkpoint.read(path))
    assert all(map(torch.equal, before, model.parameters()))


@pytest.mark.parametrize("dtype", [torch.int16, torch.int8, torch.uint16, torch.float8_e4m3fn, torch.complex64])
def test_numbers_of_a_type_that_we_do_not_store_are_refused(tmp_path: Path, dtype: torch.dtype) -> None:
    path = tmp_path / "model.safetensors"
    document = {"kind": "bundle", "format_version": 1, "config": {}, "info": {}, "versions": {}}
    save_file({"x": torch.zeros(2).to(dtype)}, path, {"amplify": json.dumps(document)})
    with pytest.raises(CheckpointError, match="x is of the type"):
        checkpoint.read(path)


LIES: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {},
    optional={
        "dtype": st.sampled_from(["F64", "F32", "F16", "I8", "U16", "F8_E5M2", "BOOL", "X9", 3, None]),
        "shape": st.lists(st.one_of(st.integers(-2, 8), st.sampled_from([2**62, 1.5, "2"])), max_size=3),
        "data_offsets": st.lists(st.one_of(st.integers(-8, 64), st.just(2**63)), max_size=3),
    },
).filter(bool)


def with_header(whole: bytes, change: dict[str, Any], length: int | None) -> bytes:
    """A file with ``change`` in what its header says of the weight, and another ``length`` of the header."""
    end = 8 + int.from_bytes(whole[:8], "little")
    header = json.loads(whole[8:end])
    header["weight"] |= change
    text = json.dumps(header).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + whole[end:]


@given(change=LIES, length=st.one_of(st.none(), st.integers(0, 2**64 - 1), st.integers(0, 2000)))
@settings(max_examples=200)
def test_a_header_that_lies_is_refused_or_says_the_same(
    tmp_path_factory: pytest.TempPathFactory, change: dict[str, Any], length: int | None
) -> None:
    path = tmp_path_factory.getbasetemp() / "lying.safetensors"
    model = nn.Linear(3, 2)
    checkpoint.save(path, "bundle", {}, model.state_dict())
    path.write_bytes(with_header(path.read_bytes(), change, length))
    loaded = nn.Linear(3, 2)
    before = loaded.weight.clone()
    try:
        checkpoint.load_weights(loaded, checkpoint.read(path, "bundle"))
    except CheckpointError:
        assert torch.equal(loaded.weight, before)
    else:
        assert torch.equal(loaded.weight, model.weight)


@pytest.mark.parametrize(
    "change",
    [
        {"data_offsets": [0, 24]},  # over the bias, which lies there
        {"data_offsets": [800, 824]},
        {"shape": [2, 3, 2**40]},
        {"shape": [-2, -3]},
    ],
)
def test_tensors_that_share_a_place_or_have_none_are_refused(saved: Path, change: dict[str, Any]) -> None:
    saved.write_bytes(with_header(saved.read_bytes(), change, None))
    with pytest.raises(CheckpointError, match="not a safetensors file"):
        checkpoint.read(saved)
