"""Every option beyond the published recipe computes what its formula says: the golden data of the extras."""

from math import log
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.tokenizer.golden import close, load, tokenizer
from tokenizer.code_usage import code_usage
from tokenizer.fsq import FSQ
from tokenizer.tracks import motion
from tokenizer.tracks.head_loss import HeadParts, head_loss
from tokenizer.tracks.loss_terms import counted_diversity_loss, radial_class_weights, soft_diversity_loss
from tokenizer.tracks.model import MotionTokenizer
from tokenizer.tracks.options import LossConfig, TokenizerConfig


@pytest.fixture(scope="module")
def extras(golden: Path) -> dict[str, Any]:
    return load(golden, "tokenizer_extras")


def test_golden_radial_class_weights(extras: dict[str, Any]) -> None:
    for case in extras["class_weights"]["cases"]:
        # the source takes a 0 for "not given"; here it is 0
        strength, power = case["strength"] or 2.0, case["power"] or 2.0
        assert close(radial_class_weights(tuple(case["size"]), strength, power), case["weights"], 1e-5)
    absent = LossConfig()
    found = radial_class_weights((15, 15), absent.class_weight_strength, absent.class_weight_power)
    assert close(found, extras["class_weights"]["absent_keys_default"], 1e-5)


LOSSES: dict[str, LossConfig] = {
    "plain": LossConfig(),
    "radial": LossConfig(class_weight_mode="radial", class_weight_strength=4),
    "focal": LossConfig(use_focal=True, focal_gamma=4, focal_alpha=0.5),
    "focal_radial": LossConfig(True, 4, 0.5, "radial", 4),
    "focal_absent_keys": LossConfig(use_focal=True),
    "focal_gamma_zero_becomes_two": LossConfig(use_focal=True, focal_gamma=2, focal_alpha=1),
    "focal_gamma_one": LossConfig(use_focal=True, focal_gamma=1, focal_alpha=1),
}


def loss_of_logits(
    logits: torch.Tensor, classes: torch.Tensor, model: MotionTokenizer, view_weights: torch.Tensor | None = None
) -> torch.Tensor:
    """The model's loss as if its decoder had given these logits (v, t, n, classes) for these classes (v, t, n).

    Every track becomes a sample of one track, and the hidden layer nothing, so that any logits are possible.
    """
    v, t, n, k = logits.shape
    parts = HeadParts(
        torch.zeros(n, v, t, 1), torch.zeros(1, v, 1, 1), torch.zeros(k, 1), shared=logits.permute(2, 0, 1, 3)
    )
    return head_loss(
        parts,
        classes.permute(2, 0, 1).unsqueeze(-1),
        torch.ones(v) if view_weights is None else view_weights,
        class_weights=model.class_weights,
        focal=model.focal,
    )


@pytest.mark.parametrize("case", LOSSES)
def test_golden_loss_and_its_gradient(extras: dict[str, Any], case: str) -> None:
    data = extras["loss"]
    reference = data["cases"][case]
    model = MotionTokenizer(TokenizerConfig(num_tracks=6, hidden_dim=16, num_heads=2, loss=LOSSES[case]))
    size = tuple(data["config"]["cls_img_size"])
    classes = motion.motion_classes(data["traj"][:, :, :-1], data["traj"][:, :, 1:], size, (15, 15))
    assert torch.equal(classes, data["target_classes"])

    logits = data["logits"].unflatten(1, classes.shape[1:])
    for sample in range(2):
        for v, t, n in ((0, 0, 0), (1, 2, 5), (0, 1, 3)):
            one = logits[sample, v, t, n].view(1, 1, 1, -1)
            found = loss_of_logits(one, classes[sample, v, t, n].view(1, 1, 1), model)
            assert close(found, reference["loss"][sample, v, t, n], 1e-5)

    wanted = logits.clone().requires_grad_()
    total = torch.stack([loss_of_logits(wanted[i], classes[i], model) for i in range(2)]).sum()
    # the sum over two views of means over half as many elements each, in each of two samples: four times the mean
    assert close(total / 4, reference["loss"].mean(), 1e-5)
    (gradient,) = torch.autograd.grad(total / 4, wanted)
    rows = gradient.flatten(1, 3)[:, :: data["grad_stride"]]
    assert close(rows, reference["grad_of_mean"], 1e-5)


def test_golden_relative_cross_entropy(golden: Path) -> None:
    case = load(golden, "functions")["relative_ce"]
    size = tuple(case["cfg"]["cls_img_size"])
    classes = motion.motion_classes(case["traj"][:, :, :-1], case["traj"][:, :, 1:], size, (15, 15))
    logits = case["logits"].unflatten(1, classes.shape[1:])
    model = MotionTokenizer(TokenizerConfig(num_tracks=16, hidden_dim=16, num_heads=2))
    for i in range(2):
        assert close(loss_of_logits(logits[i], classes[i], model), case["loss"][i].mean((1, 2)).sum(), 1e-5)


def test_golden_counted_diversity(extras: dict[str, Any]) -> None:
    for name, case in extras["diversity"]["cases"].items():
        if name.startswith(("digits", "misread")):
            continue  # the source guesses that these are digits; ours are always indices
        # the source divides by the nominal size, or by what the largest index needs
        support = max(case["codebook_size"], int(case["indices"].max()) + 1)
        found = counted_diversity_loss(case["indices"], support).item()
        assert found == pytest.approx(case["added_weight_1"], abs=3e-6), name
        assert 0.3 * found == pytest.approx(case["added"], abs=3e-6), name


def test_golden_soft_diversity(extras: dict[str, Any]) -> None:
    data = extras["soft_diversity_recommended"]
    for case in data["cases"]:
        bounded = case["bounded"].clone().requires_grad_()
        value = soft_diversity_loss(bounded, data["levels"], case["tau"])
        assert close(value, case["value"], 1e-5)
        (gradient,) = torch.autograd.grad(value, bounded)
        assert close(gradient, case["grad"], 1e-5)


def test_golden_code_usage(extras: dict[str, Any]) -> None:
    for name, case in extras["utilisation"]["cases"].items():
        if name.startswith(("digits", "misread")):
            continue
        usage = code_usage(torch.bincount(case["indices"].flatten(), minlength=case["K_eff"]))
        assert usage["unique_codes"] == case["unique"]
        assert usage["entropy"] == pytest.approx(case["entropy"], abs=1e-5)
        assert usage["entropy"] / log(case["K_eff"]) == pytest.approx(case["entropy_norm"], abs=1e-5)
        if case["raw_perplexity"] is not None:
            assert usage["perplexity"] == pytest.approx(case["raw_perplexity"], rel=1e-5)
            assert usage["normalized_perplexity"] == pytest.approx(case["normalized_perplexity"], rel=1e-5)
    epoch = extras["utilisation"]["epoch"]
    counts = sum(torch.bincount(batch.flatten().long(), minlength=2048) for batch in epoch["batches"])
    assert isinstance(counts, torch.Tensor)
    usage = code_usage(counts)
    assert usage["unique_codes"] == epoch["unique"]
    assert usage["dead_code_ratio"] == pytest.approx(epoch["dead_ratio"])


def test_golden_decoding(extras: dict[str, Any]) -> None:
    case = extras["decoding"]
    shape = case["argmax"].shape[1:4]
    sizes = tuple(case["image"]), tuple(case["window"])
    logits = case["logits"].clone().requires_grad_()
    each = logits.unflatten(1, shape)
    assert close(motion.likeliest_velocities(each, *sizes), case["argmax"], 1e-6)
    expected = motion.expected_velocities(each, *sizes)
    assert close(expected, case["expectation"], 1e-5)
    weights = torch.arange(expected.numel()).view_as(expected) / expected.numel()
    (gradient,) = torch.autograd.grad((expected * weights).sum(), logits)
    assert close(gradient[:, :: case["expectation_grad_stride"]], case["expectation_grad"], 1e-5)

    peaked = torch.nn.functional.one_hot(case["peaked_class"].long(), logits.shape[-1]).float() * 1e4
    assert close(motion.likeliest_velocities(peaked.unflatten(1, shape), *sizes), case["peaked_argmax"], 1e-6)
    assert close(motion.expected_velocities(peaked.unflatten(1, shape), *sizes), case["peaked_expectation"], 1e-5)


@torch.no_grad()
def test_golden_decoder_pos_scale(golden: Path, extras: dict[str, Any]) -> None:
    data = extras["pos_scale"]
    for case in data["cases"]:
        model, base = tokenizer(golden, "tokenizer_joint_causal", decoder_pos_scale=case["effective"])
        logits = model.decoder(base["outputs"]["codes"]).flatten(1, 3)
        assert close(logits[:, :: data["logits_stride"]], case["rel_logits"], 1e-5)
        assert close(model.decode(base["outputs"]["codes"]), case["x_recon"], 1e-5)
        assert torch.allclose(logits, base["outputs"]["rel_logits"], atol=1e-4) == case["same_as_base"]


@torch.no_grad()
def test_golden_noise_before_the_quantiser(golden: Path, extras: dict[str, Any]) -> None:
    for case in extras["z_noise"]["cases"]:
        options = {"z_noise_std": case["z_noise_std"], "attn_pdrop": 0.0}
        model, base = tokenizer(golden, "tokenizer_joint_causal", **options)
        clean = model.encode(base["inputs"]["x"])[1]
        assert torch.equal(clean, base["outputs"]["indices"].long())

        model.train()
        torch.manual_seed(case["seed"])
        indices = model.encode(base["inputs"]["x"])[1]
        assert torch.equal(indices, case["indices"].long())
        torch.manual_seed(case["seed"])
        result = model(base["inputs"]["traj"])
        assert torch.equal(result.indices, indices)
        changed = result.terms.get("codes_changed_by_noise", torch.zeros(()))
        assert changed.item() == pytest.approx(case["codes_changed"])


def test_golden_total_with_every_term(extras: dict[str, Any]) -> None:
    data, loss = extras["diversity"], extras["loss"]
    weights = torch.tensor([data["loss_weights"][view] for view in data["views"]])
    counted = counted_diversity_loss(data["cases"]["seq15_skewed"]["indices"], 2048)
    for case, diversity, total in (
        ("plain", 0.0, data["base_total"]),
        ("focal_radial", 0.3, data["weighted_total_all_terms"]),
    ):
        model = MotionTokenizer(TokenizerConfig(num_tracks=6, hidden_dim=16, num_heads=2, loss=LOSSES[case]))
        classes = loss["target_classes"]
        logits = loss["logits"].unflatten(1, classes.shape[1:])
        of_samples = [loss_of_logits(logits[i], classes[i], model, weights) for i in range(2)]
        assert close(torch.stack(of_samples).mean() + diversity * counted, total, 1e-5)


@pytest.mark.parametrize("size", [16, 2048, 4096])
def test_golden_bounded_values_round_to_the_digits(golden: Path, size: int) -> None:
    case = load(golden, "functions")["fsq"][str(size)]
    fsq = FSQ(24, size)
    fsq.load_state_dict(case["state_dict"])
    digits = fsq.bounded(case["z"]).round() + torch.tensor(fsq.levels) // 2
    assert torch.equal((digits * fsq._basis).sum(-1).long(), case["indices"].long())
