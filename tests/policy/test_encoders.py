"""The encoders that train with the policy, and augmentation."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from common.errors import UserError
from policy.augment import OFF, AugmentConfig, augmented, draw, shifted, softened
from policy.known_instructions import KnownInstructions
from policy.text import PreprocessedText, TextConfig, WordsEncoder, build_text_encoder
from policy.vision import SmallEncoder, VisionConfig
from tests.policy.pretrained import write_t5
from tokenizer.resnet import ResNet

SMALL = VisionConfig("small", 32, channels=(8, 8), embed_dim=12, keypoints=4)


def test_an_instruction_does_not_depend_on_the_others_in_its_batch() -> None:
    encoder = WordsEncoder(TextConfig("words", width=16))
    alone = encoder(encoder.prepare(["Open the drawer"]))
    together = encoder(encoder.prepare(["open  the DRAWER.", "put the mug in the microwave and close it", ""]))
    assert torch.allclose(alone[0], together[0], atol=1e-6)
    assert together.isfinite().all()
    assert not torch.allclose(together[0], together[1])


def test_text_of_the_wrong_kind_is_refused() -> None:
    words, stored = WordsEncoder(TextConfig("words", width=16)), PreprocessedText()
    with pytest.raises(UserError, match="list of strings"):
        words.prepare(np.zeros((2, 512), np.float32))
    with pytest.raises(UserError, match="embeddings must have shape"):
        stored.prepare(np.zeros((2, 64), np.float32))
    stored.known = KnownInstructions({"close the drawer": torch.ones(512)})
    with pytest.raises(UserError, match="nearest are 'close the drawer'"):
        stored.prepare(["open the drawer"])


def test_the_small_encoder_makes_tokens_of_any_image_size_and_starts_deaf_to_text() -> None:
    encoder = SmallEncoder(SMALL, views=2)
    images = torch.rand(3, 2, 48, 40, 3)
    tokens = encoder(images, torch.zeros(3, 512))
    assert tokens.shape == (3, 2, encoder.num_tokens, encoder.embed_dim)
    assert torch.allclose(tokens, encoder(images, torch.randn(3, 512)))


def test_the_small_encoder_can_do_without_text() -> None:
    torch.manual_seed(0)
    told, alone = SmallEncoder(SMALL, views=2), SmallEncoder(replace(SMALL, film=False), views=2)
    alone.load_state_dict({name: w for name, w in told.state_dict().items() if ".film." not in name})
    images = torch.rand(3, 2, 32, 32, 3)
    assert torch.allclose(alone(images), told(images, torch.randn(3, 512)), atol=1e-6)  # which starts deaf


def test_keypoints_are_found_where_the_feature_is() -> None:
    trunk = SmallEncoder(SMALL, views=1).views[0]
    x = torch.zeros(1, 8, 4, 4)
    x[0, :, 3, 0] = 1.0
    with torch.no_grad():
        trunk.keypoints.weight.fill_(100.0)
        where, what = trunk._attend(x)
    assert torch.allclose(where, torch.tensor([1.0, -1.0]).expand_as(where), atol=1e-3)
    assert torch.allclose(what, torch.ones_like(what), atol=1e-3)


@pytest.mark.parametrize("name", ["resnet18", "resnet34", "resnet50"])
def test_resnets_take_torchvision_names_and_refuse_others(tmp_path: Path, name: str) -> None:
    source, target = ResNet(64, name), ResNet(64, name)  # type: ignore[arg-type]
    names = {"0": "conv1", "1": "bn1", "4": "layer1", "5": "layer2", "6": "layer3", "7": "layer4"}
    weights = {"fc.weight": torch.zeros(1)}
    for ours, tensor in source.state_dict().items():
        _, place, rest = ours.split(".", 2)
        weights[f"{names[place]}.{rest}"] = tensor
    torch.save(weights, tmp_path / "whole.pth")
    target.load_pretrained(str(tmp_path / "whole.pth"))
    assert all(torch.equal(w, target.state_dict()[ours]) for ours, w in source.state_dict().items())
    torch.save({"conv1.weight": weights["conv1.weight"]}, tmp_path / "part.pth")
    with pytest.raises(UserError, match=f"does not hold {name} weights"):
        target.load_pretrained(str(tmp_path / "part.pth"))


@pytest.mark.parametrize(
    ("name", "blocks", "weights"),
    [
        ("resnet18", (2, 2, 2, 2), 11_176_512),
        ("resnet34", (3, 4, 6, 3), 21_284_672),
        ("resnet50", (3, 4, 6, 3), 23_508_032),
    ],
)
def test_resnets_have_the_sizes_of_the_paper(name: str, blocks: tuple[int, ...], weights: int) -> None:
    model = ResNet(64, name)  # type: ignore[arg-type]
    assert tuple(len(stage) for stage in model.model[4:]) == blocks
    assert sum(weight.numel() for weight in model.parameters()) == weights  # torchvision's, without its classifier
    assert model(torch.rand(1, 2, 48, 48, 3)).shape == (1, 2, 4, 2048 if name == "resnet50" else 512)


def test_a_t5_of_any_width_makes_512_features(tmp_path: Path) -> None:
    encoder = build_text_encoder(TextConfig("t5", weights=str(write_t5(tmp_path, width=24))).resolved())
    encoder.t5.load_pretrained(str(tmp_path / "t5"))
    features = encoder(encoder.prepare(["open the drawer", "close it", "open the drawer"]))
    assert features.shape == (3, 512)
    assert torch.equal(features[0], features[2])
    assert not torch.allclose(features[0], features[1])
    assert [name for name, weight in encoder.named_parameters() if weight.requires_grad] == [
        "project.weight",
        "project.bias",
    ]


def test_shifts_move_each_image_as_a_whole() -> None:
    rows = torch.arange(12, dtype=torch.uint8)[:, None, None].expand(4, 2, 12, 10, 3)
    shifts = draw(4, 2, AugmentConfig(shift=2), np.random.default_rng(0))["shifts"]
    assert set(shifts.flatten().tolist()) == {-2, -1, 0, 1, 2}
    moved = shifted(rows, shifts).int()
    assert set(moved.diff(dim=2).flatten().tolist()) == {0, 1}  # the border repeats
    assert torch.equal(moved[:, :, 5, 0, 0] - 5, shifts[..., 0])
    assert torch.equal(shifted(rows, torch.zeros(4, 2, 2, dtype=torch.long)), rows)


def test_softened_samples_are_means_of_neighbours_and_the_others_stay() -> None:
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (2, 2, 8, 8, 3), np.uint8))
    soft = softened(images, torch.tensor([True, False]))
    assert torch.equal(soft[1], images[1])
    means = images[0].float().unfold(1, 2, 1).unfold(2, 2, 1).mean((-2, -1))
    assert (soft[0, :, 1:, 1:] - means).abs().max() < 3  # each halving drops what is odd


def test_jitter_of_strength_zero_only_scales() -> None:
    images = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16, 1).expand(-1, -1, -1, -1, 3)
    none = augmented({"images": images, **draw(1, 1, OFF, np.random.default_rng(0))})
    assert torch.allclose(none, images / 255, atol=1e-6)
    only_values = AugmentConfig(shift=0, soften=0.0)
    some = augmented({"images": images, **draw(1, 1, only_values, np.random.default_rng(0))})
    assert 0 <= some.min() < some.max() <= 1
    assert not torch.allclose(some, none)
