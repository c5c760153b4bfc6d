"""Golden data of the multimodal pipeline: pairs, canvas, coordinates, image ids, split and masking."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from vector_quantize_pytorch import FSQ

from tests.tokenizer.golden import load
from tokenizer.multimodal.canvas import Canvas, Fit, to_tensor
from tokenizer.multimodal.coordinates import coordinate_bins, coordinate_tokens, decoded_coordinates
from tokenizer.multimodal.frame_pairs import frame_pairs
from tokenizer.multimodal.image_tokenizers import COSMOS_LEVELS
from tokenizer.multimodal.masking import IGNORED, Draws, Share, masked
from tokenizer.multimodal.options import MaskedModelConfig
from tokenizer.multimodal.similarity import grey, ssim
from tokenizer.multimodal.split import split


@pytest.mark.parametrize("clip", ["a", "b"])
def test_pairs_of_frames(golden: Path, clip: str) -> None:
    data = load(golden, "multimodal_pairs")[clip]
    frames = data["frames"].numpy()
    greys = [grey(frame) for frame in frames]
    np.testing.assert_array_equal(np.stack(greys), data["gray"].numpy())
    similar = np.array([[ssim(a, b) for b in greys] for a in greys])
    np.testing.assert_allclose(similar, data["ssim_all"].numpy(), atol=1e-6)
    pairs = list(frame_pairs(frames))
    assert [list(pair[:2]) for pair in pairs] == data["pairs"]
    assert [0, *(pair.successor for pair in pairs)] == data["kept"]
    compared = {(int(r), int(j)): s for r, j, s in data["comparisons"].tolist()}
    assert all(abs(compared[pair[:2]] - pair.ssim) < 1e-6 for pair in pairs)
    for threshold, wanted in data["pairs_other_threshold"].items():
        assert [list(pair[:2]) for pair in frame_pairs(frames, float(threshold))] == wanted


def test_grey_and_canvas(golden: Path) -> None:
    data = load(golden, "multimodal_pairs")
    np.testing.assert_array_equal(grey(data["gray"]["rgb"].numpy()), data["gray"]["gray"].numpy())
    case = data["resize"]
    frame = case["frame"].numpy()
    height, width = frame.shape[:2]
    squash, crop = (Canvas(width, height, fit, case["canvas"]) for fit in ("squash", "crop"))
    np.testing.assert_array_equal(squash.image(frame), case["squash_uint8"].numpy())
    np.testing.assert_array_equal(crop.image(frame), case["crop_uint8"].numpy())
    assert list(crop.resized) == list(case["shorter_side_wh"])
    assert crop.left == case["left"]
    torch.testing.assert_close(to_tensor(squash.image(frame)[None])[0], case["squash_tensor"], atol=1e-6, rtol=0)


@pytest.mark.parametrize("fit", ["squash", "crop"])
def test_coordinates(golden: Path, fit: Fit) -> None:
    data = load(golden, "multimodal_coords")
    canvas = Canvas(*data["size_wh"], fit)
    points = torch.stack([data["x"], data["y"]], -1).numpy()
    tokens = coordinate_tokens(points, data["vis"].numpy(), canvas)
    wanted = data["tokens_squash"] if fit == "squash" else data["crop"]["tokens"]
    np.testing.assert_array_equal(tokens, wanted.numpy())
    assert tokens.dtype == np.uint16
    if fit == "squash":
        np.testing.assert_array_equal(tokens.reshape(3, -1), data["flat_squash"].numpy())
        decoded, seen = decoded_coordinates(tokens)
        np.testing.assert_allclose(np.moveaxis(decoded, -1, -2), data["decoded_squash_px"].numpy(), atol=1e-9)
        np.testing.assert_array_equal(seen, data["vis"].numpy())
        assert (tokens[:, 0] != data["buggy_x_must_not_match"].numpy()).any()
    else:
        placed = canvas.points(points)
        assert (list(canvas.resized), canvas.left, canvas.top) == (
            list(data["crop"]["resized_wh"]),
            data["crop"]["left"],
            data["crop"]["top"],
        )
        np.testing.assert_allclose(placed[..., 0], data["crop"]["canvas_x"].numpy(), atol=1e-9)
        np.testing.assert_allclose(placed[..., 1], data["crop"]["canvas_y"].numpy(), atol=1e-9)
        np.testing.assert_array_equal(canvas.inside(placed), data["crop"]["inside"].numpy())
    np.testing.assert_array_equal(coordinate_bins(data["edge_px"].numpy()), data["edge_tokens"].numpy())


def test_image_ids(golden: Path) -> None:
    data = load(golden, "multimodal_image_ids")
    assert list(COSMOS_LEVELS) == data["levels"]
    quantizer = FSQ(list(COSMOS_LEVELS))
    assert quantizer.codebook_size == data["codebook_size"]
    torch.testing.assert_close(quantizer.indices_to_codes(data["ids"]), data["codes"])
    codes, ids = quantizer(data["z"].flatten(2).transpose(1, 2))
    assert torch.equal(ids.view(data["z_ids"].shape), data["z_ids"])
    torch.testing.assert_close(codes.transpose(1, 2).view(data["z_codes"].shape), data["z_codes"])


def test_splits(golden: Path) -> None:
    for count, wanted in load(golden, "multimodal_pairs")["split"].items():
        found = split(f"{number:06}" for number in range(1, int(count) + 1))
        if "counts" not in wanted:
            assert found == wanted
            continue
        assert [len(ids) for ids in found.values()] == list(wanted["counts"])
        assert all(ids[:5] == wanted[f"{name}_first"] for name, ids in found.items())
        lines = "\n".join([*found["train"], *found["eval"], *found["test"]])
        digest = hashlib.sha256(lines.encode()).hexdigest()
        assert digest == wanted["sha256_of_newline_joined_shuffled_ids"]


def config(published: dict[str, Any]) -> MaskedModelConfig:
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in published.items()}
    del values["overlap_posembs"]
    return MaskedModelConfig(**values, ids=values["vocab_sizes"], flags=(0,) * 4)


@pytest.mark.parametrize(
    "name",
    [
        "document",
        "small",
        "small_asymmetric",
        "small_next_only",
        "small_offset_vocab",
        "small_fixed_budget",
        "small_everything",
    ],
)
def test_masking(golden: Path, name: str) -> None:
    data = load(golden, "multimodal_masking")[name]
    c = config(data["config"])
    sample = {modality: tokens.numpy() for modality, tokens in data["data"].items()}
    for run in data["runs"]:
        inputs, targets = (
            Share(run[f"n_{kind}"], run[f"{kind}_fractions"].numpy(), run[f"{kind}_extra"].numpy())
            for kind in ("input", "target")
        )
        draws = Draws(inputs, targets, tuple(noise.numpy() for noise in run["noise"]))
        assert [budget.tolist() for budget in draws.budgets(c)] == [run["input_budget"], run["target_budget"]]
        found = masked(sample, draws, c)
        assert found.keys() == run["out"].keys()
        for key, wanted in run["out"].items():
            np.testing.assert_array_equal(found[key], wanted.numpy(), err_msg=key)
        assert (found["dec_tokens"][~found["dec_pad_mask"]] == IGNORED).all()
