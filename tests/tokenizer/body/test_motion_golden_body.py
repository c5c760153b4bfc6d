"""The Motion VAE gives the golden numbers: features and their inverse, every stage, the losses, training, full size."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.tokenizer.golden import close, load
from tokenizer.body.features import BodyTensors, body_of, features_of, groups, rotation_of, six_of
from tokenizer.body.loss import losses
from tokenizer.body.model import Latents, MotionVAE
from tokenizer.body.options import BodyConfig
from training.schedules import warm_cosine

MODES = ("published", "causal")


def config_of(golden_config: dict[str, Any], mode: str) -> BodyConfig:
    names = ("hidden_dim", "latent_dim", "num_resnet_blocks", "lambda_kl")
    return BodyConfig(mode=mode, **{name: golden_config[name] for name in names if name in golden_config})


def body_from(arrays: dict[str, Tensor]) -> BodyTensors:
    names = ("cpf_translation", "cpf_orientation", "joint_translation", "joint_orientation")
    return BodyTensors(*(arrays[name] for name in names))


def assert_losses(found: dict[str, Tensor], golden: dict[str, float], tolerance: float = 1e-5) -> None:
    assert found.keys() == golden.keys()
    for name, value in golden.items():
        assert float(found[name]) == pytest.approx(value, rel=tolerance), name


def test_motion_golden_body_features(golden: Path) -> None:
    data = load(golden, "motion_vae_features")
    assert {name: [part.start, part.stop] for name, part in groups(23).items()} == data["slices"]
    torch.testing.assert_close(features_of(body_from(data["inputs"])), data["outputs"]["flat"], rtol=0, atol=1e-6)
    torch.testing.assert_close(features_of(body_from(data["inputs64"])), data["flat64"], rtol=0, atol=1e-12)


@pytest.mark.parametrize(("features", "inverse"), [("flat", "inverse"), ("noisy_flat", "noisy_inverse")])
def test_motion_golden_body_features_back(golden: Path, features: str, inverse: str) -> None:
    data = load(golden, "motion_vae_features")
    found = body_of(data["outputs"]["flat"] if features == "flat" else data[features])
    for ours, theirs in zip(vars(found).values(), vars(body_from(data[inverse])).values(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=2e-6)


def test_motion_golden_body_rotations(golden: Path) -> None:
    data = load(golden, "motion_vae_features")["rot6d"]
    torch.testing.assert_close(six_of(data["R"]), data["six_of_R"])
    torch.testing.assert_close(rotation_of(data["six_in"]), data["R_of_six"], rtol=0, atol=1e-6)
    torch.testing.assert_close(six_of(data["R_prev"].mT @ data["R"]), data["velocity_six"], rtol=0, atol=1e-6)


@pytest.mark.parametrize("mode", MODES)
def test_motion_golden_body_model(golden: Path, mode: str) -> None:
    data = load(golden, "motion_vae_model")
    wanted, config = data[mode], config_of(data["config"], mode)
    model = MotionVAE(config)
    model.load_state_dict(data["state_dict"])
    stages: dict[str, Tensor] = {}
    places = {
        name: name if hasattr(model.get_submodule(name.split(".")[0]), name.split(".")[1]) else f"{name}_blocks"
        for name in wanted["stages"]
    }
    for name, place in places.items():
        module = model.get_submodule(place)
        last = module[-1] if isinstance(module, torch.nn.ModuleList) else module
        last.register_forward_hook(lambda _m, _i, out, name=name: stages.__setitem__(name, out.detach()))
    model.train()
    found = model(data["x"], data["eps"])
    for name, stage in wanted["stages"].items():
        assert close(stages[name], stage, 1e-5), name
    for ours, theirs in ((found.latents.mean, "mean"), (found.latents.log_variance, "logvar"), (found.z, "z")):
        assert close(ours, wanted[theirs], 1e-5), theirs
    assert close(found.motion, wanted["recon"], 1e-5)
    with torch.no_grad():
        unmasked = losses(config, found.motion, data["x"], found.latents)
    assert_losses(unmasked, wanted["losses_unmasked"])
    masked = losses(config, found.motion, data["x"], found.latents, data["padding_mask"])
    assert_losses({name: term.detach() for name, term in masked.items()}, wanted["losses_masked"])
    masked["total"].backward()
    for name, parameter in model.named_parameters():
        assert float(parameter.grad.norm()) == pytest.approx(wanted["grad_norms"][name], rel=1e-3), name
    model.eval()
    assert close(model(data["x"]).motion, wanted["recon_of_mean"], 1e-5)
    assert close(model.decode(data["prior"]["z"]), data["prior"][mode], 1e-5)
    for frames, latents, rebuilt in data["lengths_T_latent_recon"]:
        encoded = model.encode(torch.zeros(1, frames, config.input_dim)).mean
        assert (encoded.shape[1], model.decode(encoded).shape[1]) == (latents, rebuilt)


def test_motion_golden_body_loss(golden: Path) -> None:
    data = load(golden, "motion_vae_loss")
    for case in data["cases"]:
        config = BodyConfig(lambda_kl=case["lambda_kl"])
        latents = Latents(case["mean"], case["logvar"])
        arguments = (config, case["recon"], case["target"], latents)
        assert_losses(losses(*arguments, case["padding_mask"]), case["losses_masked"])
        assert_losses(losses(*arguments), case["losses_unmasked"])
    nothing = losses(*arguments, torch.zeros_like(case["padding_mask"]))
    assert_losses(nothing, data["losses_all_padded"])


@pytest.mark.parametrize("mode", MODES)
def test_motion_golden_body_training(golden: Path, mode: str) -> None:
    data = load(golden, "motion_vae_train")
    wanted, config, training = data[mode], config_of(data["config"], mode), data["train_config"]
    model = MotionVAE(config)
    model.load_state_dict(data["initial_state_dict"])
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.01)
    base, warmup = training["learning_rate"], training["warmup_steps"]
    for number, step in enumerate(wanted["steps"]):
        rate = base * warm_cosine(number, warmup, len(wanted["steps"]))
        assert rate == pytest.approx(step["lr"], rel=1e-6)
        optimizer.param_groups[0]["lr"] = rate
        x, mask = (data[name][number % training["num_batches"]] for name in ("x", "padding_mask"))
        model.train()
        found = model(x, data["eps"][number])
        terms = losses(config, found.motion, x, found.latents, mask)
        optimizer.zero_grad()
        terms["total"].backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        assert float(norm) == pytest.approx(step["grad_norm"], rel=1e-4)
        assert_losses({name: term.detach() for name, term in terms.items()}, {name: step[name] for name in terms}, 1e-4)
    with torch.no_grad():
        found = model.eval()(data["x"][0])
        terms = losses(config, found.motion, data["x"][0], found.latents, data["padding_mask"][0])
    assert close(found.latents.mean, wanted["final_mean"], 1e-4)
    assert close(found.motion, wanted["final_recon"], 1e-4)
    assert_losses(terms, wanted["final_losses"], 1e-4)
    state = model.state_dict()
    for name, tensor in wanted["final_state_dict"].items():
        torch.testing.assert_close(state[name], tensor, rtol=0, atol=1e-5)


def test_motion_golden_body_schedule(golden: Path) -> None:
    for case in load(golden, "motion_vae_train")["schedule"].values():
        rates = [
            case["base_lr"] * warm_cosine(step, case["warmup_steps"], case["total_steps"]) for step in case["step"]
        ]
        assert rates == pytest.approx(case["lr"], rel=1e-9)


@pytest.mark.parametrize("mode", MODES)
def test_motion_golden_body_at_full_size(golden: Path, mode: str) -> None:
    data = load(golden, "motion_vae_fullsize")
    model = MotionVAE(BodyConfig(mode=mode)).eval()
    assert [[name, list(w.shape)] for name, w in model.state_dict().items()] == [list(pair) for pair in data["keys"]]
    assert sum(w.numel() for w in model.parameters()) == data["parameter_count"] == 25_678_630
    weights = {}
    for number, (name, shape) in enumerate(data["keys"]):
        drawn = np.random.RandomState(1000 + number).standard_normal(int(np.prod(shape)))
        if len(shape) == 3:
            drawn = drawn / np.sqrt(shape[1] * shape[2])
        else:
            drawn = 1 + 0.1 * drawn if ".norm" in name and name.endswith("weight") else 0.05 * drawn
        weights[name] = torch.from_numpy(drawn.reshape(shape).astype(np.float32))
    model.load_state_dict(weights)
    x = torch.from_numpy((0.5 * np.random.RandomState(7).standard_normal((1, 152, 294))).astype(np.float32))
    with torch.no_grad():
        found = model(x)
    assert close(found.latents.mean, data[mode]["mean"], 1e-5)
    assert close(found.latents.log_variance, data[mode]["logvar"], 1e-5)
    assert close(found.motion, data[mode]["recon"], 1e-5)
