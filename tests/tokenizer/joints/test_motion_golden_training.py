"""Golden data of the motion VQ-VAE: three training steps, and clips rebuilt in windows and from their codes."""

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.tokenizer.golden import load
from tests.tokenizer.joints.test_motion_golden_network import close, load_source, options
from tokenizer.joints.codes import (
    decode_clip,
    decode_windows,
    encode_windows,
    padded,
    sliding_codes,
)
from tokenizer.joints.evaluation import feature_errors
from tokenizer.joints.model import JointTokenizer
from tokenizer.joints.recipe import loss_of


def test_three_training_steps(golden: Path) -> None:
    data = load(golden, "motion_vqvae_train_steps")
    config, expected = data["config"], data["time_velocity"]
    model = load_source(JointTokenizer(options(config), config["frame_size"], 30), data["state_dict"]).train()
    optimizer = torch.optim.AdamW(model.parameters(), config["lr"], (0.9, 0.99), weight_decay=config["weight_decay"])
    for number, step in enumerate(expected["steps"]):
        optimizer.param_groups[0]["lr"] = step["lr"]
        found = loss_of(model, step["x"])
        close(found.loss, step["total"])
        for ours, theirs in (("recon", "recon"), ("velocity", "vel_time"), ("commitment", "commit")):
            close(found.terms[ours], step[theirs])
        close(found.perplexity, step["perplexity"])
        optimizer.zero_grad()
        found.loss.backward()
        if number == 0:
            close(found.rebuilt, step["x_out"])
            for name, gradient in step["grads"].items():
                close(model.get_parameter(name).grad, gradient)
        optimizer.step()
    state = model.state_dict()
    for name, after in expected["state_dict_after"].items():
        close(state[name], after, 1e-4)
    for name, after in expected["quantizer_after"].items():
        close(state[f"vqvae.quantizer.{name}"], after, 1e-4)


@pytest.fixture
def rebuilt(golden: Path) -> tuple[JointTokenizer, list[np.ndarray], dict]:
    """The source's model with a codebook of its own, the clips' features, and what the source makes of them."""
    model, features = (load(golden, f"motion_vqvae_{name}") for name in ("model_relu_none", "features"))
    data = load(golden, "motion_vqvae_reconstruct")
    config = model["config"]
    tokenizer = load_source(JointTokenizer(options(config), config["frame_size"], 50), model["state_dict"])
    tokenizer.vqvae.quantizer.codebook.copy_(data["codebook"])
    tokenizer.mean.copy_(features["mean"])
    tokenizer.std.copy_(features["std"])
    ends = np.array(features["end_indices"]) + 1
    return tokenizer, np.split(features["features"].numpy(), ends[:-1]), data


def test_clips_are_rebuilt_window_by_window_and_from_their_codes(rebuilt) -> None:
    tokenizer, clips, data = rebuilt
    for clip, case in zip(clips, data["windowed"], strict=True):
        codes = encode_windows(tokenizer, clip)
        assert torch.equal(codes.flatten(), case["codes"])
        found = decode_windows(tokenizer, codes, len(clip))
        close(torch.from_numpy(found), case["reconstruction"])
        close(torch.from_numpy(decode_clip(tokenizer, case["codes"])), case["decoded_from_codes"])
        errors, metrics = feature_errors(tokenizer, found, clip), case["metrics"]
        for ours, theirs in (
            *((f"root_{axis}_rmse", f"root_{axis}_rmse") for axis in ("dx", "dy", "dz", "dyaw")),
            ("root_moves_rmse", "root_deltas_rmse"),
            ("joint_rmse_rad", "dof_pos_rmse"),
            ("joint_velocity_rmse", "dof_vel_rmse"),
            ("all_rmse", "overall_rmse"),
        ):
            assert errors[ours] == pytest.approx(metrics[theirs], abs=1e-5)
        mae = [errors[f"root_{axis}_mae"] for axis in ("dx", "dy", "dz", "dyaw")]
        np.testing.assert_allclose(mae, metrics["root_mae_vec"], atol=1e-5)


def test_sliding_codes(rebuilt) -> None:
    tokenizer, clips, data = rebuilt
    found, expected = sliding_codes(tokenizer, clips), data["sliding"]
    assert len(found.codes) == expected["count"]
    assert torch.equal(found.codes[::8], expected["codes"])
    assert found.starts[::8].tolist() == [list(pair) for pair in expected["clip_and_start"]]


def test_statistics_and_windows(golden: Path, rebuilt) -> None:
    data = load(golden, "motion_vqvae_features")
    tokenizer, clips, _ = rebuilt
    tokenizer.normalise_by(data["features"])
    close(tokenizer.mean, data["mean"])
    close(tokenizer.std, data["std"])
    close(tokenizer.normalised(data["features"]), data["normalized"])
    for item in data["windows_64"]["items"]:
        window = padded(clips[item["clip"]][item["start"] : item["start"] + 64], 64)
        close(tokenizer.normalised(torch.from_numpy(window)), item["window"])
