"""The three trainers run, resume exactly, and make checkpoints that bundle into a policy that acts."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from common.errors import UserError
from policy import bundle, load_policy, train_forward, train_inverse
from policy.interface import Policy
from tests.policy.tiny import (
    SIZE,
    TRACKS,
    common,
    dynamics_overrides,
    latest,
    make_data,
    tokenizer_overrides,
)
from tokenizer import train as train_tokenizer
from training import checkpoint


def forward_overrides(root: Path) -> list[str]:
    return [*dynamics_overrides("forward"), f"motion_tokenizer_checkpoint={latest(root, 'motion_tokenizer')}"]


def inverse_overrides(root: Path) -> list[str]:
    return [
        *dynamics_overrides("inverse"),
        f"motion_tokenizer_checkpoint={latest(root, 'motion_tokenizer')}",
        f"forward_dynamics_checkpoint={latest(root, 'forward_dynamics')}",
    ]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data and one finished run of each trainer."""
    root = tmp_path_factory.mktemp("training")
    make_data(root)
    train_tokenizer.main([*tokenizer_overrides(), *common(root)])
    train_forward.main([*forward_overrides(root), *common(root)])
    train_inverse.main([*inverse_overrides(root), *common(root)])
    return root


TRAINERS = {
    "motion_tokenizer": (train_tokenizer.main, lambda root: tokenizer_overrides()),
    "forward_dynamics": (train_forward.main, forward_overrides),
    "inverse_dynamics": (train_inverse.main, inverse_overrides),
}


@pytest.mark.parametrize("kind", TRAINERS)
def test_an_interrupted_run_resumes_to_the_same_weights(trained: Path, kind: str) -> None:
    main, overrides = TRAINERS[kind]
    settings = {"run": "halved", "lr_schedule": "null"}
    main([*overrides(trained), *common(trained, run="whole", lr_schedule="null")])
    main([*overrides(trained), *common(trained, **settings, max_steps=2)])
    main([*overrides(trained), *common(trained, **settings, resume="true")])
    whole, halved = load_file(latest(trained, kind, "whole")), load_file(latest(trained, kind, "halved"))
    assert all((whole[name] == halved[name]).all() for name in whole)


@pytest.mark.parametrize("kind", TRAINERS)
def test_a_checkpoint_says_what_made_it(trained: Path, kind: str) -> None:
    found = checkpoint.read(latest(trained, kind), kind)
    assert found.config["training"]["batch_size"] == 8
    assert found.info["step"] == 4
    assert found.info["data"]["train"] == ["tiny:traj1.0:action1.0"]
    assert found.info["metrics"]["loss"] > 0
    assert "torch" in found.versions
    assert (latest(trained, kind).parent / "log.txt").read_text().count("val/loss ") == 1


def test_a_run_is_not_overwritten(trained: Path) -> None:
    with pytest.raises(UserError, match="resume=true"):
        train_tokenizer.main([*tokenizer_overrides(), *common(trained)])


@pytest.mark.parametrize("kind", TRAINERS)
def test_a_run_starts_from_the_weights_it_is_given(trained: Path, kind: str) -> None:
    main, overrides = TRAINERS[kind]
    source = latest(trained, kind)
    main([*overrides(trained), *common(trained, run="tuned", init_from=source, lr=0, max_steps=1)])
    before, after = load_file(source), load_file(latest(trained, kind, "tuned"))
    assert all((before[name] == after[name]).all() for name in before)


@pytest.mark.parametrize("kind", TRAINERS)
def test_half_precision_trains(trained: Path, kind: str) -> None:
    main, overrides = TRAINERS[kind]
    main([*overrides(trained), *common(trained, run="half", precision="16-mixed", max_steps=10)])
    state = torch.load(latest(trained, kind, "half").parent / "latest.state.pt", weights_only=True)
    taken = max(int(moments["step"]) for moments in state["optimizer"]["state"].values())
    assert taken >= 5  # of 10: the loss scale starts high, and steps whose gradients overflow are left out
    assert checkpoint.read(latest(trained, kind, "half"), kind).info["metrics"]["loss"] > 0


def test_a_resumed_run_keeps_its_settings(trained: Path) -> None:
    with pytest.raises(UserError, match="lr="):
        train_tokenizer.main([*tokenizer_overrides(), *common(trained, resume="true", lr=0.5)])


def test_forward_and_inverse_dynamics_of_another_tokenizer_are_refused(trained: Path) -> None:
    train_tokenizer.main([*tokenizer_overrides(), *common(trained, run="other", seed=1)])
    other = latest(trained, "motion_tokenizer", "other")
    with pytest.raises(UserError, match="another tokenizer"):
        train_inverse.main(
            [*inverse_overrides(trained), *common(trained, run="x"), f"motion_tokenizer_checkpoint={other}"]
        )
    parts = [str(latest(trained, kind)) for kind in ("forward_dynamics", "inverse_dynamics")]
    with pytest.raises(UserError, match="bundle it with the tokenizer it was trained with"):
        bundle.main(["--mt_ckpt", str(other), "--fd_ckpt", parts[0], "--id_ckpt", parts[1], "--name", "x"])


@pytest.mark.parametrize("half", [False, True])
def test_the_checkpoints_bundle_into_a_policy_that_acts(trained: Path, tmp_path: Path, half: bool) -> None:
    out = tmp_path / "policy.safetensors"
    paths = [str(latest(trained, kind)) for kind in TRAINERS]
    arguments = ["--mt_ckpt", paths[0], "--fd_ckpt", paths[1], "--id_ckpt", paths[2], "--name", "tiny"]
    bundle.main([*arguments, "--out", str(out), *(["--half"] if half else [])])
    policy = load_policy(out)
    assert isinstance(policy, Policy)
    assert policy.image_size == (SIZE, SIZE)

    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (2, 2, SIZE, SIZE, 3), dtype=np.uint8)
    text = ["open drawer number 0", "do something never heard of"]
    actions = policy.act(images, rng.normal(size=(2, 9)), text)
    assert actions.shape == (2, 16, 7)
    assert actions.dtype == np.float32
    assert np.abs(actions).max() <= 1

    one = policy.act(images[:1], None, text[:1])
    assert np.allclose(one, policy.act(images[:1].astype(np.float32) / 255, None, text[:1]), atol=1e-5)
    indices, codes = policy.predict_codes(images, text)
    assert indices.shape == (2, 15)
    assert codes.shape == (2, 15, 32)
    queries = np.zeros((2, 2, 1, TRACKS, 2), np.float32)
    assert policy.predict_traj(images, queries, text).shape == (2, 2, 16, TRACKS, 2)

    policy.blank_codes = True
    assert not np.allclose(one, policy.act(images[:1], None, text[:1]))
