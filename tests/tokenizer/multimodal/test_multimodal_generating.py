"""Generating and measuring from the command line, and frames in a row."""

import json
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from common.errors import UserError
from tests.tokenizer.multimodal.examples import cosmos_folder, token_folder, train
from tokenizer import evaluate_multimodal, generate_multimodal
from tokenizer.multimodal.dataset import TokenDataset, tokens_of_pair
from tokenizer.multimodal.evaluation import generated, prediction
from tokenizer.multimodal.generation import Target
from tokenizer.multimodal.meaning import Meaning
from tokenizer.multimodal.model import MaskedModel
from tokenizer.multimodal.rollout import roll_out
from tokenizer.multimodal.store import TokenStore
from tokenizer.sampling import Sampling

CHANCE = Sampling(1.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("generating")
    token_folder(folder)
    train(folder, "max_steps=20", "lr=0.01", "lr_schedule=null")
    return folder


@pytest.fixture(scope="module")
def model(folder: Path) -> MaskedModel:
    return MaskedModel.load(checkpoint(folder))


def checkpoint(folder: Path) -> Path:
    return folder / "runs" / "masked_model" / "tiny" / "latest.safetensors"


def generate(folder: Path, *options: str) -> Path:
    images = ["--images", str(folder / "images.safetensors"), "--pair", "000003", "--out", str(folder / "made")]
    generate_multimodal.main([str(checkpoint(folder)), str(folder / "tokens"), *images, *options])
    return folder / "made"


def test_any_modality_from_any_other(folder: Path, model: MaskedModel) -> None:
    truth = tokens_of_pair(TokenStore.read(folder / "tokens"), "000003", model.config)
    for given in truth:
        for wanted in truth:
            if given != wanted:
                tokens = {given: torch.from_numpy(truth[given])[None]}
                (found,) = roll_out(model, tokens, [Target(wanted, 2, CHANCE)])
                assert set(found) == {given, wanted}
                model.config.check(wanted, found[wanted].numpy())


def test_the_next_frame_becomes_the_present_and_captions_stay(folder: Path, model: MaskedModel) -> None:
    truth = tokens_of_pair(TokenStore.read(folder / "tokens"), "000003", model.config)
    given = {name: torch.from_numpy(truth[name])[None] for name in ("tok_rgb", "coords", "captions")}
    targets = [Target("coords_next", 3, CHANCE), Target("tok_rgb_next", 4, CHANCE)]
    found = list(roll_out(model, given, targets, frames=3, seed=5))
    for before, after in pairwise(found):
        assert torch.equal(after["tok_rgb"], before["tok_rgb_next"])
        assert torch.equal(after["coords"], before["coords_next"])
        assert torch.equal(after["captions"], given["captions"])
    again = list(roll_out(model, given, targets, frames=3, seed=5))
    other = list(roll_out(model, given, targets, frames=3, seed=6))
    assert all(torch.equal(a["tok_rgb_next"], b["tok_rgb_next"]) for a, b in zip(found, again, strict=True))
    assert any(not torch.equal(a["tok_rgb_next"], b["tok_rgb_next"]) for a, b in zip(found, other, strict=True))
    one = list(roll_out(model, given, targets[1:], frames=2))
    assert "coords" not in one[1]  # it was of the frame before


def test_a_strip_a_film_and_tokens(folder: Path) -> None:
    made = generate(folder, "--frames", "4", "--temperature", "0.7", "--top-p", "0.9", "--seed", "3")
    with Image.open(made.with_suffix(".png")) as picture:
        assert picture.size == (256 * 5, 256 * 2)
    document = json.loads(made.with_suffix(".json").read_text())
    assert [len(frame["tok_rgb_next"]) for frame in document["frames"]] == [64] * 4
    assert document["frames"][0]["captions"].startswith("a square jumps")
    video = cv2.VideoCapture(str(made.with_suffix(".mp4")))
    assert (video.get(cv2.CAP_PROP_FRAME_WIDTH), video.get(cv2.CAP_PROP_FRAME_HEIGHT)) == (256, 256)
    assert int(video.get(cv2.CAP_PROP_FRAME_COUNT)) == 5
    again = json.loads(
        generate(folder, "--frames", "4", "--temperature", "0.7", "--top-p", "0.9", "--seed", "3")
        .with_suffix(".json")
        .read_text()
    )
    assert again == document


def test_an_image_from_joints_and_words(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = generate(folder, "--given", "coords", "--caption", "a circle", "--wanted", "tok_rgb:4")
    document = json.loads(made.with_suffix(".json").read_text())
    assert set(document["frames"][0]) == {"coords", "captions", "tok_rgb"}
    assert document["frames"][0]["captions"] == "a circle"
    generate(folder, "--given", "tok_rgb", "--wanted", "captions:48")
    assert "caption: " in capsys.readouterr().out.splitlines()[-1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--given", "tok_rgb", "--wanted", "tok_rgb"], "tok_rgb cannot be asked for"),
        (["--given", "sound"], "pair 000003 of .* has no sound for this model, only tok_rgb, coords"),
        (["--wanted", "coords", "--given", "tok_rgb", "--frames", "2"], "several frames need one that is asked for"),
        (["--wanted", "coords_next:x"], "'x' is no number of steps"),
        (["--wanted", "coords_next:40"], "39 tokens cannot be generated in 40 steps"),
        (["--pair", "999999"], "pair 999999 has no tok_rgb"),
        (["--wanted", ""], "nothing is asked for"),
        (["--caption", "x" * 48], "a caption of 48 bytes has no place in 48 tokens"),
    ],
)
def test_what_cannot_be_generated_is_refused(folder: Path, options: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        generate(folder, *options)


def test_another_image_tokenizer_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="was trained on images of image_tokenizer"):
        Meaning.read(checkpoint(folder), str(cosmos_folder(tmp_path / "cosmos")))


def test_measures_on_held_out_pairs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = folder / "measures.json"
    arguments = ["--images", str(folder / "images.safetensors"), "--out", str(out)]
    evaluate_multimodal.main([str(checkpoint(folder)), str(folder / "tokens"), *arguments])
    found = json.loads(out.read_text())
    assert found["split"] == "test"
    assert found["split_by"] == "video"
    assert found["pairs"] == len(list((folder / "tokens" / "test" / "tok_rgb").iterdir()))
    for name in ("tok_rgb", "coords", "tok_rgb_next", "coords_next", "captions"):
        assert found["prediction"][f"loss_{name}"] > 0
    for of_kind in found["next_frame"].values():
        assert set(of_kind) == {"psnr", "ssim", "joints_px", "accuracy_tok_rgb_next", "accuracy_coords_next"}
    printed = capsys.readouterr().out
    assert "split by video" in printed
    assert "joints_px" in printed


def test_a_perfect_next_frame_has_no_error(folder: Path, model: MaskedModel) -> None:
    """Data whose next frame is the present one: standing still is right, and both measures say so."""
    data = TokenDataset([folder / "tokens"], "test", model.config, limit=3)
    assert len(data) == 3
    for name in ("tok_rgb", "coords"):
        data.tokens[f"{name}_next"] = data.tokens[name]
    meaning = Meaning.read(checkpoint(folder), str(folder / "images.safetensors"))
    found = generated(model, data, meaning, [Target("coords_next"), Target("tok_rgb_next")])
    still = found["still"]
    assert (still["joints_px"], still["ssim"], still["accuracy_coords_next"]) == (0, 1, 1)
    assert still["psnr"] > 60 > found["generated"]["psnr"]
    with pytest.raises(UserError, match="coords is not of the next frame"):
        generated(model, data, meaning, [Target("coords")])
    assert prediction(model, data) == prediction(model, data)


def test_joints_are_drawn_where_they_are(folder: Path) -> None:
    meaning = Meaning.read(checkpoint(folder), str(folder / "images.safetensors"))
    tokens = np.zeros((3, 13), np.int64)
    tokens[0], tokens[1], tokens[2, 5] = 128, 64, 1
    drawn = meaning.drawn(np.zeros((256, 256, 3), np.uint8), tokens.reshape(-1))
    place = np.argwhere(drawn.sum(-1) > 0).mean(0)
    assert np.abs(place - (64, 128)).max() < 2
