"""Vision encoder, forward and inverse dynamics and the whole policy compute what the published ones compute."""

from pathlib import Path

import pytest
import torch

from policy.forward_dynamics import ForwardDynamics, top_k_filter
from policy.import_official import convert, forward_config, inverse_config, main, tokenizer_config
from policy.inverse_dynamics import InverseDynamics
from policy.load import load_policy
from tests.tokenizer.golden import close, load, load_published
from tokenizer.fsq import FSQ
from tokenizer.resnet import ResNet18

SMALL_VISION = {"model_name": "resnet18", "get_patches": True, "get_cls_and_patches": False, "patch_pooling": None}


def forward_dynamics(golden: Path) -> tuple[ForwardDynamics, dict]:
    data = load(golden, "fd")
    config = data["config"]
    config["forward_dynamics"]["vision_encoder"] |= {"img_size": 64}
    tokenizer = tokenizer_config(data["motion_tokenizer_config"])
    model = ForwardDynamics(forward_config(config), tokenizer, FSQ(tokenizer.hidden_dim, tokenizer.codebook_size))
    load_published(model, data["state_dict"], absent="vision_encoder.")
    return model, data


@torch.no_grad()
def test_golden_forward_dynamics(golden: Path) -> None:
    model, data = forward_dynamics(golden)
    inputs, outputs = data["inputs"], data["outputs"]
    condition = model.condition(inputs["image_tokens"].unflatten(1, (2, -1)), inputs["text_emb"][:, 0])
    assert close(condition, outputs["cond_tokens"])
    logits = model.logits(condition, inputs["targets"])
    assert close(logits, outputs["teacher_forced_logits"])
    assert torch.equal(logits.argmax(-1), outputs["teacher_forced_indices"])
    loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), inputs["targets"].flatten())
    assert close(loss, outputs["loss"])

    indices = model.predict(condition)
    assert torch.equal(indices, outputs["predict_argmax"])
    assert close(model.logits(condition, indices), outputs["predict_argmax_step_logits"])
    assert close(model.quantize.indices_to_codes(indices), outputs["predicted_codes"])
    assert close(model.quantize.indices_to_codes(inputs["targets"]), outputs["target_codes"])

    torch.manual_seed(4242)
    assert torch.equal(model.predict(condition, "topk"), outputs["predict_topk_seed4242"])


def test_golden_top_k_keeps_ties(golden: Path) -> None:
    data = load(golden, "functions")["top_k_top_p"]
    assert torch.equal(top_k_filter(data["logits"], 10), data["cases"]["k10"]["output"])
    assert torch.equal(top_k_filter(data["logits"], 100), data["cases"]["k100"]["output"])
    ties = data["cases"]["ties_k2"]
    assert torch.equal(top_k_filter(ties["input"], 2), ties["output"])


@torch.no_grad()
def test_golden_inverse_dynamics(golden: Path) -> None:
    data = load(golden, "id_gaussian")
    case = data["variants"]["default"]
    config = case["config"] | {"vision_encoder": SMALL_VISION | {"img_size": 64}}
    tokenizer = data["motion_tokenizer_config"]
    model = InverseDynamics(inverse_config(config, tokenizer["true_horizon"]), tokenizer_config(tokenizer))
    load_published(model, case["state_dict"], absent="vision_encoder.")

    inputs, outputs = case["inputs"], case["outputs"]
    views_apart = inputs["img_tokens"].unflatten(2, (2, -1)).transpose(1, 2)
    condition, _ = model.condition(views_apart, None, inputs["proprioception"][:, 0], inputs["codes"])
    assert close(condition, outputs["cond_tokens"])
    assert close(model.head.act(condition), outputs["act_mean"])
    losses, predicted = model.head.losses(condition, case["actions"])
    assert close(losses, outputs["loss_elementwise"])
    assert close((losses * model.head.weights[:, None]).mean(), outputs["loss"])
    assert close(predicted, outputs["mu"])
    torch.manual_seed(11)
    assert close(model.head.sample(condition), outputs["act_sample_seed11"])


@torch.no_grad()
def test_golden_resnet18(golden: Path) -> None:
    bundle = load(golden, "bundle_gaussian")["model"]
    weights = {k.removeprefix("img_encoder."): v for k, v in bundle.items() if k.startswith("img_encoder.")}
    for name, case in load(golden, "vision_resnet18")["cases"].items():
        if name.startswith("patches"):
            model = ResNet18(case["img_size"])
            model.load_state_dict(weights)
            assert close(model(case["input"].unsqueeze(1))[:, 0], case["output"]), name


def test_golden_bundle_converts_saves_loads_and_acts(golden: Path, tmp_path: Path) -> None:
    io = load(golden, "bundle_gaussian_io")
    inputs = {name: value.numpy() for name, value in io["inputs"].items()}
    outputs = io["outputs"]
    out = tmp_path / "official.safetensors"
    main([str(golden / "bundle_gaussian.pt"), "--out", str(out)])
    policy = load_policy(out)

    def matches(ours, name: str) -> bool:
        return close(torch.from_numpy(ours), outputs[name])

    images, text = inputs["images"], inputs["text_emb"]
    indices, codes = policy.predict_codes(images, text)
    assert torch.equal(torch.from_numpy(indices), outputs["indices"])
    assert matches(codes, "codes")
    assert matches(policy.act(images, inputs["proprio"], text), "act")
    assert matches(policy.act(images, None, text), "act_proprio_none")
    assert matches(policy.predict_traj(images, inputs["init_queries"], text), "traj")


def test_golden_bundle_with_a_path_inside_is_read_safely_or_refused(golden: Path) -> None:
    from training.checkpoint import CheckpointError

    for path in sorted((golden / "not_weights_only").glob("*.pt")):
        with pytest.raises(CheckpointError):
            convert(path)
