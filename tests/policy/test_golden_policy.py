"""Vision encoder, forward and inverse dynamics and the whole policy compute what the published ones compute."""

from pathlib import Path

import pytest
import torch

from policy.forward_dynamics import ForwardDynamics
from policy.import_official import convert, forward_config, inverse_config, main, tokenizer_config
from policy.inverse_dynamics import InverseDynamics
from policy.load import load_policy
from policy.published import policy_weights
from tests.tokenizer.golden import close, load, load_published
from tokenizer.fsq import FSQ
from tokenizer.resnet import ResNet

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


def inverse_dynamics(case: dict, tokenizer: dict) -> InverseDynamics:
    config = case["config"] | {"vision_encoder": SMALL_VISION | {"img_size": 64}}
    model = InverseDynamics(inverse_config(config, tokenizer["true_horizon"]), tokenizer_config(tokenizer))
    load_published(model, policy_weights(case["state_dict"]), absent=("vision_encoder.", "text_encoder."))
    return model


def condition_of(model: InverseDynamics, inputs: dict) -> torch.Tensor:
    views_apart = inputs["img_tokens"].unflatten(2, (2, -1)).transpose(1, 2)
    text = inputs["text_tokens"][:, 0] if "text_tokens" in inputs else None
    return model.condition(views_apart, text, inputs["proprioception"][:, 0], inputs["codes"])[0]


@torch.no_grad()
def test_golden_gaussian_inverse_dynamics(golden: Path) -> None:
    data = load(golden, "id_gaussian")
    case = data["variants"]["default"]
    model = inverse_dynamics(case, data["motion_tokenizer_config"])
    inputs, outputs = case["inputs"], case["outputs"]
    condition = condition_of(model, inputs)
    assert close(condition, outputs["cond_tokens"])
    assert close(model.act(condition, model.head.noise(len(condition))), outputs["act_mean"])
    losses, predicted = model.head.losses(condition, case["actions"])
    assert close(losses, outputs["loss_elementwise"])
    assert close((losses * model.head.weights[:, None]).mean(), outputs["loss"])
    assert close(predicted, outputs["mu"])
    torch.manual_seed(11)
    assert close(model.head.sample(condition), outputs["act_sample_seed11"])


@torch.no_grad()
def test_golden_diffusion_inverse_dynamics(golden: Path) -> None:
    data = load(golden, "id_diffusion")
    model = inverse_dynamics(data, data["motion_tokenizer_config"])
    inputs, outputs, head = data["inputs"], data["outputs"], model.head
    condition = condition_of(model, inputs)
    assert close(condition, outputs["cond_tokens"])
    assert close(head.signal[1:], outputs["alphas_cumprod"])
    for level, found in zip((0, 3, 9), outputs["eps_at_t_0_3_9"], strict=True):
        levels = torch.full((len(condition),), level)
        noisy = outputs["noisy_actions"]
        assert close(head.network(noisy, levels, head.network.remember(condition)), found), level
    torch.manual_seed(21)
    losses, _ = head.losses(condition, data["actions"])
    assert close(losses, (outputs["noise_pred"] - outputs["noise"]).square())
    assert close((losses * head.weights[:, None]).mean(), outputs["loss"])
    torch.manual_seed(22)
    noise = head.noise(len(condition))
    assert torch.equal(noise[0], outputs["act_init_noise"])
    assert torch.equal(noise[1:], outputs["act_step_noise"])
    assert close(model.act(condition, noise), outputs["act_seed22"])


@torch.no_grad()
def test_golden_flow_inverse_dynamics(golden: Path) -> None:
    data = load(golden, "id_flow")
    model = inverse_dynamics(data, data["motion_tokenizer_config"])
    inputs, outputs, head = data["inputs"], data["outputs"], model.head
    condition = condition_of(model, inputs)
    assert close(condition, outputs["cond_tokens"])
    memory = head.network.remember(condition)
    assert close(head.network(outputs["x_t"], outputs["t"], memory), outputs["velocity"])
    for time, x, v in zip(*(outputs[f"act_net_calls_{name}"] for name in "txv"), strict=True):
        assert close(head.network(x, torch.full((len(x),), float(time)), memory), v), time
    assert close(head.network.transformer_blocks[0].positions, outputs["pos_embed_pe_first16"][0, :10])
    torch.manual_seed(31)
    losses, _ = head.losses(condition, data["actions"])
    assert close((losses * head.weights[:, None]).mean(), outputs["loss"])
    torch.manual_seed(32)
    noise = head.noise(len(condition))
    assert torch.equal(noise[0], outputs["act_x_init"])
    assert close(head.act(condition, noise), outputs["act_seed32"])


@torch.no_grad()
def test_golden_resnet18(golden: Path) -> None:
    bundle = load(golden, "bundle_gaussian")["model"]
    weights = {k.removeprefix("img_encoder."): v for k, v in bundle.items() if k.startswith("img_encoder.")}
    for name, case in load(golden, "vision_resnet18")["cases"].items():
        if name.startswith("patches"):
            model = ResNet(case["img_size"])
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
