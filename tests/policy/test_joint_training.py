"""Both dynamics models are trained together: one file comes out that acts, continues, and hears through its codes."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from common.errors import UserError
from policy import bundle, evaluate, load_policy, train_dynamics, unbundle
from policy.recipes.joint import JointRecipe
from tests.policy.tiny import SIZE, common, latest, make_data, tokenizer_overrides
from tokenizer import train as train_tokenizer
from training import checkpoint
from training.hydra_config import parse


def overrides(root: Path) -> list[str]:
    eyes = {"image_size": SIZE, "channels": "[8,8]", "embed_dim": 16, "keypoints": 4}
    settings = {f"forward_dynamics.vision_encoder.{name}": value for name, value in eyes.items()}
    settings |= {"forward_dynamics.text_encoder.width": 16, "forward_dynamics.text_encoder.buckets": 64}
    settings |= {f"{part}.num_layers": 1 for part in ("forward_dynamics", "inverse_dynamics")}
    settings |= {f"{part}.num_heads": 2 for part in ("forward_dynamics", "inverse_dynamics")}
    tokenizer = f"motion_tokenizer_checkpoint={latest(root, 'motion_tokenizer')}"
    return [tokenizer, *(f"model.{name}={value}" for name, value in settings.items())]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("joint")
    make_data(root)
    train_tokenizer.main([*tokenizer_overrides(), *common(root)])
    train_dynamics.main([*overrides(root), *common(root)])
    return root


def test_what_comes_out_is_a_policy_with_one_pair_of_eyes(trained: Path) -> None:
    policy = load_policy(latest(trained, "bundle"))
    assert policy.forward_dynamics.vision_encoder is policy.inverse_dynamics.vision_encoder
    images = np.random.default_rng(0).integers(0, 256, (2, 2, SIZE, SIZE, 3), dtype=np.uint8)
    texts = ["open drawer number 0", "open drawer number 1"]
    assert policy.act(images, None, texts).shape == (2, 16, 7)
    told = [policy.act(images, None, [text] * 2) for text in texts]
    assert not np.array_equal(*told)
    policy.blank_codes = True
    assert np.array_equal(*(policy.act(images, None, [text] * 2) for text in texts))
    metrics = checkpoint.read(latest(trained, "bundle")).info["metrics"]
    assert {"action_loss", "action_loss_without_codes", "code_loss", "greedy_code_accuracy", "delta_auc"} <= set(
        metrics
    )


def test_both_losses_train_the_eyes_and_the_codes(trained: Path) -> None:
    words = [*overrides(trained), *common(trained, run="gradients", amp="false"), "code_dropout=0"]
    config = parse(JointRecipe.config_type, JointRecipe.config_files, words, command="", about="")
    assert config is not None
    recipe = JointRecipe(config)
    before = recipe.load(np.arange(8), np.random.default_rng(0))
    gradients = []
    for known in (True, False):
        recipe.all_have_actions = False
        recipe.model.zero_grad()
        loss, measures = recipe.loss(before | {"has_actions": torch.full((8,), known)})
        loss.backward()
        gradients.append([w.grad.clone() for w in recipe.model.forward_dynamics.unembed.parameters()])
        eyes = recipe.model.forward_dynamics.vision_encoder.parameters()
        assert all(w.grad is not None for w in eyes)
        assert ("action_loss" in measures) == known
        acting = [w.grad for w in recipe.model.inverse_dynamics.head.parameters()]
        assert all((w is not None and w.any()) == known for w in acting)
    assert not torch.allclose(gradients[0][0], gradients[1][0])
    assert all(w.grad is None for w in recipe.model.motion_tokenizer.parameters())


def test_an_interrupted_run_resumes_to_the_same_weights(trained: Path) -> None:
    settings = {"lr_schedule": "null"}
    train_dynamics.main([*overrides(trained), *common(trained, run="whole", **settings)])
    train_dynamics.main([*overrides(trained), *common(trained, run="halved", **settings, max_steps=2)])
    train_dynamics.main([*overrides(trained), *common(trained, run="halved", **settings, resume="true")])
    whole, halved = (load_file(latest(trained, "bundle", run)) for run in ("whole", "halved"))
    assert all((whole[name] == halved[name]).all() for name in whole)


def test_it_starts_from_an_earlier_policy_of_the_same_tokenizer_only(trained: Path) -> None:
    source = latest(trained, "bundle")
    settings = {"init_from": source, "lr": 0, "max_steps": 1}
    train_dynamics.main([*overrides(trained), *common(trained, run="tuned", **settings)])
    before, after = load_file(source), load_file(latest(trained, "bundle", "tuned"))
    assert all((before[name] == after[name]).all() for name in before)
    train_tokenizer.main([*tokenizer_overrides(), *common(trained, run="other", seed=1)])
    other = f"motion_tokenizer_checkpoint={latest(trained, 'motion_tokenizer', 'other')}"
    with pytest.raises(UserError, match="thinks in the codes of another tokenizer"):
        train_dynamics.main([*overrides(trained), *common(trained, run="wrong", **settings), other])


def test_videos_teach_more_than_the_actions_there_are(trained: Path) -> None:
    mixed = {"train_datasets": "[tiny:traj1.0:action0.5]"}
    train_dynamics.main([*overrides(trained), *common(trained, run="mixed", **mixed)])
    info = checkpoint.read(latest(trained, "bundle", "mixed")).info
    assert (info["samples"], info["action_samples"]) == (80, 40)
    apart = {"train_datasets": "[tiny:traj0.5:action-0.5]"}
    with pytest.raises(UserError, match="let the share of traj contain that of action"):
        train_dynamics.main([*overrides(trained), *common(trained, run="apart", **apart)])


def test_it_bundles_at_half_its_size_comes_apart_and_together_again(trained: Path, tmp_path: Path) -> None:
    whole, half = latest(trained, "bundle"), tmp_path / "half.safetensors"
    bundle.main(["--policy", str(whole), "--name", "mine", "--half", "--out", str(half)])
    assert half.stat().st_size < 0.7 * whole.stat().st_size
    assert load_policy(half).name == "mine"
    unbundle.main([str(half), "--out", str(tmp_path)])
    kinds = {"mt": "motion_tokenizer", "fd": "forward_dynamics", "id": "inverse_dynamics"}
    parts = [word for n, kind in kinds.items() for word in (f"--{n}_ckpt", str(tmp_path / f"{kind}.safetensors"))]
    again = tmp_path / "again.safetensors"
    bundle.main([*parts, "--name", "mine", "--out", str(again)])
    assert load_policy(again).share_vision_encoder
    with pytest.raises(UserError, match="or --policy instead of them"):
        bundle.main([*parts, "--policy", str(whole), "--name", "mine"])


def test_soft_codes_and_draws_are_measured_too(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--checkpoint", latest(trained, "bundle"), "--datasets", "[tiny:traj1]", "--frames", "8"]
    words += ["--demos-root", trained / "demos", "--tracks-root", trained / "tracks", "--num-samples", "4"]
    evaluate.main([str(word) for word in words])
    shown = capsys.readouterr().out
    for title in ("greedy_digit_2_accuracy", "of mean codes at once", "the best of 4 drawn", "the mean over 4 drawn"):
        assert title in shown


def test_eyes_that_read_are_refused(trained: Path) -> None:
    reading = "model.forward_dynamics.vision_encoder.film=true"
    with pytest.raises(UserError, match="share one vision encoder"):
        train_dynamics.main([*overrides(trained), *common(trained, run="x"), reading])
