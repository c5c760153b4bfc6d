"""Training the masked model and the image tokenizer from the command line."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from common.errors import UserError
from tests.tokenizer.multimodal.examples import token_folder, train, video_folder
from tokenizer import train_images
from tokenizer.multimodal.image_model import FsqImageTokenizer, ImageTokenizerConfig
from tokenizer.multimodal.image_recipe import ImageRecipe
from tokenizer.multimodal.model import MaskedModel
from tokenizer.multimodal.options import MaskedModelConfig
from tokenizer.multimodal.recipe import MaskedRecipe, MaskedTraining
from training import checkpoint
from training.hydra_config import parse


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("multimodal")
    token_folder(folder)
    return folder


def test_the_default_configuration_is_the_documents() -> None:
    config = parse(
        MaskedTraining, MaskedRecipe.config_files, ["run_name=a", "train_datasets=[t]"], command="train", about=""
    )
    assert config is not None
    assert config.model == MaskedModelConfig()
    assert config.model.modalities == ("tok_rgb", "coords", "tok_rgb_next", "coords_next")
    assert config.model.vocab_sizes == (65536,) * 4
    assert (config.lr, config.min_lr, config.weight_decay, config.clip_grad) == (6e-4, 1e-6, 0.05, 1.0)
    steps = config.in_steps()
    assert (steps.max_steps, steps.warmup_steps) == (152_588, 15_259)


def test_unknown_settings_are_refused(folder: Path) -> None:
    with pytest.raises(UserError, match="max_seq_len"):
        train(folder, "+model.max_seq_len=[1]")


def test_training_measures_each_modality_and_saves_what_generation_needs(folder: Path) -> None:
    path = train(folder, "max_steps=60", "lr=0.01", "total_tokens=1", "warmup_tokens=0")
    found = checkpoint.read(path, "masked_model")
    measures = found.info["metrics"]
    assert measures["loss"] < 0.9 * np.log(300)
    for name in ("tok_rgb", "coords", "tok_rgb_next", "coords_next", "captions"):
        assert measures[f"loss_{name}"] > 0
        assert 0 <= measures[f"accuracy_{name}"] <= 1
    assert found.config["tokens"]["bins"] == 256
    assert found.config["tokens"]["lines"] == [[0, 1], [1, 2]]
    model = MaskedModel.load(path)
    assert model.config.max_seq_lens == (64, 39, 64, 39, 48)


def test_a_resumed_run_ends_as_one_in_one_piece(folder: Path) -> None:
    whole = train(folder, "max_steps=4", run="whole")
    train(folder, "max_steps=2", run="halved")
    halved = train(folder, "max_steps=4", "resume=true", run="halved")
    one, other = (checkpoint.read(path).weights for path in (whole, halved))
    assert not torch.equal(one["to_logits.weight"], torch.zeros_like(one["to_logits.weight"]))
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("ids=[30,256,20,256,258]", r"tok_rgb has 20 ids, the model 30; set ids as they are"),
        ("max_seq_lens=[64,30,64,39,48]", r"39 tokens of coords, this model takes 30"),
        ("max_seq_lens=[64,39,64,39,10]", r"a caption of 24 bytes has no place in 10 tokens"),
        ("modalities=[tok_rgb,coords,tok_rgb_next,coords_next,sound]", "has no sound, only tok_rgb"),
    ],
)
def test_tokens_that_are_not_the_models_are_refused(folder: Path, setting: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        train(folder, setting)


def test_tokens_that_are_damaged_or_missing_are_refused_by_file(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "tokens", tmp_path / "tokens")
    file = next((tmp_path / "tokens" / "train" / "coords").glob("*/coords.npy"))
    values = np.load(file)
    values[2, 3] = 2
    np.save(file, values)
    with pytest.raises(UserError, match=rf"{file.parent}: coords has 2 at position 29, where ids are 0 to 1"):
        train(tmp_path)
    file.write_bytes(b"")
    with pytest.raises(UserError, match=r"coords\.npy is damaged"):
        train(tmp_path)
    shutil.rmtree(file.parent)
    with pytest.raises(UserError, match=f"pair {file.parent.name} has no coords"):
        train(tmp_path)
    manifest = json.loads((tmp_path / "tokens" / "manifest.json").read_text())
    del manifest["split"]
    (tmp_path / "tokens" / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(UserError, match="is not split"):
        train(tmp_path)
    with pytest.raises(UserError, match="no tokens in"):
        train(tmp_path, tokens=tmp_path)


def test_an_image_tokenizer_learns(tmp_path: Path) -> None:
    videos = video_folder(tmp_path / "videos")
    names = ["run_name=tiny", f"runs_root={tmp_path}/runs", f"train_datasets=[{videos}]", f"val_datasets=[{videos}]"]
    small = ["levels=[8,5]", "width=16", "blocks=1", "stride=32", "batch_size=4", "images_per_video=4", "threads=1"]
    budget = ["max_steps=30", "max_minutes=null", "accelerator=cpu", "val_batches=1", "warmup_steps=2"]
    train_images.main([*names, *small, *budget])
    folder = tmp_path / "runs" / "image_tokenizer" / "tiny"
    path = folder / "latest.safetensors"
    assert checkpoint.read(path).info["metrics"]["psnr"] > 8
    assert len(list((folder / "pictures").glob("images_*.png"))) <= 1
    tokenizer = FsqImageTokenizer.load(path)
    assert (tokenizer.vocab_size, tokenizer.grid) == (40, 8)
    images = torch.rand(2, 3, 256, 256) * 2 - 1
    ids = tokenizer.encode(images)
    assert ids.shape == (2, 8, 8)
    assert torch.equal(tokenizer.encode(images), ids)
    assert tokenizer.decode(ids).shape == images.shape
    torch.testing.assert_close(tokenizer(images)[0], tokenizer.decode(ids), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"levels": (8, 1)}, "of 2 or more"),
        ({"stride": 20}, "it must be 8, 16 or 32"),
        ({"width": 20}, "a multiple of 16"),
        ({"blocks": 0}, "at least 1"),
    ],
)
def test_image_tokenizers_that_cannot_be_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        ImageTokenizerConfig(**options)  # type: ignore[arg-type]


def test_the_configurations_that_come_with_the_project_can_be_read() -> None:
    names = ["run_name=a", "train_datasets=[t]"]
    small = parse(MaskedTraining, MaskedRecipe.config_files, ["--config-name", "small", *names], command="", about="")
    images = parse(
        ImageRecipe.config_type, ImageRecipe.config_files, ["--config-name=small", *names], command="", about=""
    )
    assert small is not None
    assert images is not None
    tokenizer, model = FsqImageTokenizer(images.model), MaskedModel(small.model)
    assert small.model.ids[0] == tokenizer.vocab_size
    assert small.model.max_seq_lens[0] == tokenizer.grid**2
    weights = [*tokenizer.parameters(), *model.parameters()]
    assert sum(p.numel() for p in weights) * 4 < 10e6
