"""Every head and every encoder trains a few steps on demonstrations, and acts once in a LIBERO task."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from common.errors import UserError
from demos.dataset import FrameDataset
from demos.text_embeddings import write_text_embedding
from policy import bundle, load_policy, train_forward, train_inverse
from policy.amplify import Amplify
from policy.vision import build_vision_encoder
from sim.evaluation.open_policy import open_policy
from tests.policy.pretrained import write_resnet, write_t5, write_vision_transformer
from tests.policy.tiny import common, dynamics_overrides, latest, make_data, tokenizer_overrides
from tokenizer import train as train_tokenizer
from training import checkpoint

INSTRUCTION = "open drawer number 0"

HEADS: dict[str, dict[str, object]] = {
    "gaussian": {"std": 0.1},
    "gaussian, all learned": {"std": "learned", "action_squash_scale": "learned", "gripper": "classification"},
    "gaussian, neither squashed nor discounted": {"action_squash": "false", "action_loss_discount": 1.0},
    "ddpm": {"type": "diffusion", "diffusion_steps": 4},
    "ddim": {"type": "diffusion", "diffusion_sampler": "ddim", "ddim_steps": 2},
    "flow, midpoint": {"type": "flow", "flow_matching_steps": 2},
    "flow, euler": {"type": "flow", "flow_matching_steps": 3, "flow_solver": "euler"},
    "normalised": {"type": "flow", "flow_matching_steps": 2, "normalize_actions": "min_max"},
}
VISION: dict[str, Callable[[Path], Path]] = {
    "resnet18": write_resnet,
    "resnet34": lambda folder: write_resnet(folder, "resnet34"),
    "resnet50": lambda folder: write_resnet(folder, "resnet50"),
    "vit": lambda folder: write_vision_transformer(folder, "vit"),
    "dinov2": lambda folder: write_vision_transformer(folder, "dinov2"),
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data, stored embeddings, a tokenizer, and forward dynamics with the small encoders."""
    root = tmp_path_factory.mktemp("variants")
    make_data(root, tasks=1)
    write_text_embedding(root / "tracks" / "tiny" / "text" / "task_0.hdf5", INSTRUCTION, np.linspace(-1, 1, 512))
    train_tokenizer.main([*tokenizer_overrides(), *settings(root, "tiny")])
    forward(root, "tiny")
    return root


@pytest.fixture(scope="module")
def act(libero_assets: Path) -> Iterator[Callable[[Amplify], np.ndarray]]:
    """Lets a policy act once in a LIBERO task; returns its chunk."""
    from sim import LiberoEnv

    env = LiberoEnv("libero_10", 0)
    observation, _ = env.reset(seed=0, options={"init_state": 0})

    def once(policy: Amplify) -> np.ndarray:
        chunk = policy.act(observation["images"][None], observation["proprio"][None], [INSTRUCTION])[0]
        env.step(chunk[0])
        return chunk

    yield once
    env.close()


def settings(root: Path, run: str, **others: object) -> list[str]:
    return common(root, run, max_steps=2, val_datasets="[]", **others)


def given(options: dict[str, Any]) -> list[str]:
    return [f"model.{name}={value}" for name, value in options.items()]


def forward(root: Path, run: str, **options: object) -> Path:
    tokenizer = f"motion_tokenizer_checkpoint={latest(root, 'motion_tokenizer')}"
    train_forward.main([*dynamics_overrides("forward"), tokenizer, *given(options), *settings(root, run)])
    return latest(root, "forward_dynamics", run)


def policy_of(root: Path, forward: Path, run: str, **options: object) -> Amplify:
    """Trains inverse dynamics on the codes of ``forward``, and bundles."""
    tokenizer = latest(root, "motion_tokenizer")
    parts = [f"motion_tokenizer_checkpoint={tokenizer}", f"forward_dynamics_checkpoint={forward}"]
    train_inverse.main([*dynamics_overrides("inverse"), *parts, *given(options), *settings(root, run)])
    out = root / f"{run}.safetensors"
    paths = (tokenizer, forward, latest(root, "inverse_dynamics", run), out)
    flags = ("--mt_ckpt", "--fd_ckpt", "--id_ckpt", "--out")
    bundle.main([word for pair in zip(flags, map(str, paths), strict=True) for word in pair] + ["--name", run])
    return load_policy(out)


@pytest.mark.parametrize("name", HEADS)
def test_every_head_trains_and_acts(root: Path, act: Callable[[Amplify], np.ndarray], name: str) -> None:
    policy = policy_of(root, latest(root, "forward_dynamics"), name.replace(", ", "_"), **HEADS[name])
    chunk = act(policy)
    assert chunk.shape == (16, 7)
    assert np.abs(chunk).max() <= 1
    assert np.array_equal(chunk, act_again(policy, act))


def act_again(policy: Amplify, act: Callable[[Amplify], np.ndarray]) -> np.ndarray:
    torch.manual_seed(1)  # no matter to a policy that has a seed of its own
    return act(policy)


def test_actions_may_be_joint_angles_which_are_for_robots(root: Path) -> None:
    options: dict[str, object] = {"action_key": "joint_states", "action_dim": 8, "normalize_actions": "min_max"}
    forward = latest(root, "forward_dynamics")
    policy = policy_of(root, forward, "joints", **options)  # the small configuration masks what is past the end
    images = np.zeros((2, 2, 32, 32, 3), np.uint8)
    chunk = policy.act(images, None, [INSTRUCTION] * 2)
    frames = FrameDataset("[tiny:action1]", root=root / "demos", keys={"actions"}, action_key="joint_states")
    assert chunk.shape == (2, 16, 8)
    assert (chunk >= frames.actions.min(0) - 1e-5).all()
    assert (chunk <= frames.actions.max(0) + 1e-5).all()
    with pytest.raises(UserError, match="joint_states, which LIBERO's arm does not take"):
        open_policy("bundle", root / "joints.safetensors")


@pytest.mark.parametrize("name", VISION)
def test_every_vision_encoder_trains_and_acts(
    root: Path, tmp_path: Path, act: Callable[[Amplify], np.ndarray], name: str
) -> None:
    weights = VISION[name](tmp_path)
    encoder = {"vision_encoder.name": name, "vision_encoder.weights": weights, "vision_encoder.image_size": 32}
    policy = policy_of(root, forward(root, name, **encoder), name, **encoder)
    assert policy.share_vision_encoder  # it is frozen, and one and the same
    assert policy.describe()["vision_encoder"] == name
    pretrained = build_vision_encoder(policy.forward_dynamics.config.vision_encoder, 2)
    pretrained.load_pretrained(str(weights))
    found = policy.forward_dynamics.vision_encoder.state_dict()
    assert all(torch.equal(found[n], w) for n, w in pretrained.state_dict().items())
    assert act(policy).shape == (16, 7)


@pytest.mark.parametrize("name", ["words", "preprocessed", "t5"])
def test_every_text_encoder_trains_and_acts(
    root: Path, tmp_path: Path, act: Callable[[Amplify], np.ndarray], name: str
) -> None:
    encoder = {"text_encoder.name": name, "text_encoder.weights": write_t5(tmp_path)}
    policy = policy_of(root, forward(root, f"text_{name}", **encoder), f"text_{name}", **encoder)
    assert policy.describe()["text_encoder"] == name
    assert act(policy).shape == (16, 7)


@pytest.mark.parametrize("name", ["resnet18", "vit"])
def test_a_pretrained_encoder_may_train_at_a_rate_of_its_own(root: Path, tmp_path: Path, name: str) -> None:
    encoder: dict[str, object] = {"vision_encoder.name": name, "vision_encoder.weights": VISION[name](tmp_path)}
    encoder |= {"vision_encoder.image_size": 32}
    before = checkpoint.read(forward(root, f"{name}_frozen", **encoder)).weights
    moved = {}
    for rate in (0.1, 1.0):
        trains: dict[str, object] = {"vision_encoder.frozen": "false", "vision_encoder.lr_multiplier": rate}
        after = checkpoint.read(forward(root, f"{name}_{rate}", **encoder, **trains)).weights
        names = [n for n in before if n.startswith("vision_encoder.") and n.endswith("weight")]
        moved[rate] = sum(float((after[n] - before[n]).abs().sum()) for n in names)
    assert 0 < 5 * moved[0.1] < moved[1.0]
