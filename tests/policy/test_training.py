"""The three trainers run, resume exactly, and make checkpoints that bundle into a policy that acts."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from common.errors import UserError
from demos.text_embeddings import write_text_embedding
from policy import average, bundle, load_policy, train_forward, train_inverse, unbundle
from policy.interface import Policy
from policy.load import build
from tests.policy.tiny import (
    ASSETS,
    SIZE,
    TRACKS,
    common,
    dynamics_overrides,
    latest,
    make_data,
    make_policy,
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
    metrics = found.info["metrics"]
    assert metrics["loss"] > 0
    if kind != "inverse_dynamics":
        assert {"delta_auc", "still/delta_auc", "agentview/still/delta_auc", "motion_explained"} <= metrics.keys()
    if kind == "forward_dynamics":
        assert {"teacher_forced_code_accuracy", "greedy_code_accuracy"} <= metrics.keys()
    assert "torch" in found.versions
    assert (latest(trained, kind).parent / "log.txt").read_text().count("val/loss ") == 1


def test_a_run_is_not_overwritten(trained: Path) -> None:
    runs = [latest(trained, "motion_tokenizer", name) for name in ("twice", "twice_1")]
    train_tokenizer.main([*tokenizer_overrides(), *common(trained, run="twice")])
    first = runs[0].read_bytes()
    train_tokenizer.main([*tokenizer_overrides(), *common(trained, run="twice", seed=1)])
    assert runs[0].read_bytes() == first
    assert checkpoint.read(runs[1], "motion_tokenizer").config["training"]["seed"] == 1


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


@pytest.fixture(scope="module")
def others(trained: Path) -> dict[str, Path]:
    """Another tokenizer, and other forward dynamics of the same tokenizer as all."""
    train_tokenizer.main([*tokenizer_overrides(), *common(trained, run="other", seed=1)])
    train_forward.main([*forward_overrides(trained), *common(trained, run="other", seed=1)])
    return {kind: latest(trained, kind, "other") for kind in ("motion_tokenizer", "forward_dynamics")}


@pytest.mark.parametrize(
    ("kind", "part"), [("forward_dynamics", "motion_tokenizer"), ("inverse_dynamics", "forward_dynamics")]
)
def test_a_resumed_run_may_find_what_it_builds_on_elsewhere_but_not_replaced(
    trained: Path, others: dict[str, Path], tmp_path: Path, kind: str, part: str
) -> None:
    main, overrides = TRAINERS[kind]
    copy = shutil.copy(latest(trained, part), tmp_path / "copy.safetensors")
    moved = f"{part}_checkpoint={copy}"
    main([*overrides(trained), *common(trained, run="moved", max_steps=1), moved])
    main([*overrides(trained), *common(trained, run="moved", max_steps=2, resume="true")])
    shutil.copy(others[part], copy)
    with pytest.raises(UserError, match=rf"{part}_checkpoint=.* put that file back"):
        main([*overrides(trained), *common(trained, run="moved", max_steps=3, resume="true"), moved])


THROUGH_CODES = {
    "cond_on_text": "false",
    "vision_encoder.film": "false",
    "waypoints_from_codes": "true",
    "code_adapter": "true",
    "gripper": "classification",
}


def test_the_instruction_can_reach_the_actions_through_the_codes_alone(trained: Path, tmp_path: Path) -> None:
    settings = [f"model.{name}={value}" for name, value in THROUGH_CODES.items()]
    train_inverse.main([*inverse_overrides(trained), *common(trained, run="through_codes", frame_step=2), *settings])
    inverse = latest(trained, "inverse_dynamics", "through_codes")
    assert checkpoint.read(inverse).info["samples"] == 40  # every second of 2 tasks x 2 episodes x 20 frames
    out = tmp_path / "policy.safetensors"
    bundle.main([*bundle_arguments(trained, inverse_dynamics=inverse), "--out", str(out)])
    policy = load_policy(out)
    images = np.random.default_rng(0).integers(0, 256, (8, 2, SIZE, SIZE, 3), dtype=np.uint8)
    texts = [["open drawer number 0"] * 8, ["do something never heard of"] * 8]
    told = [policy.predict_codes(images, text)[0] for text in texts]
    actions = [policy.act(images, None, text) for text in texts]
    same = (told[0] == told[1]).all(1)
    assert np.allclose(actions[0][same], actions[1][same], atol=1e-6)
    policy.blank_codes = True
    blanked = [policy.act(images, None, text) for text in texts]
    assert np.array_equal(*blanked)
    assert not np.allclose(blanked[0], actions[0], atol=1e-4)


def bundle_arguments(trained: Path, **others: Path) -> list[str]:
    parts = {kind: latest(trained, kind) for kind in TRAINERS} | others
    options = zip(("--mt_ckpt", "--fd_ckpt", "--id_ckpt"), parts.values(), strict=True)
    return [str(word) for option in options for word in option] + ["--name", "tiny"]


def test_parts_of_another_tokenizer_are_refused(trained: Path, others: dict[str, Path]) -> None:
    tokenizer = others["motion_tokenizer"]
    with pytest.raises(UserError, match="another tokenizer"):
        train_inverse.main(
            [*inverse_overrides(trained), *common(trained, run="x"), f"motion_tokenizer_checkpoint={tokenizer}"]
        )
    with pytest.raises(UserError, match="bundle it with the tokenizer it was trained with"):
        bundle.main(bundle_arguments(trained, motion_tokenizer=tokenizer))


def test_actions_learned_from_other_forward_dynamics_are_refused(
    trained: Path, others: dict[str, Path], tmp_path: Path
) -> None:
    other = others["forward_dynamics"]
    with pytest.raises(UserError, match=r"learned from the codes of the forward dynamics .*; bundle it with"):
        bundle.main(bundle_arguments(trained, forward_dynamics=other))
    out = tmp_path / "policy.safetensors"
    of_true_motion = ["code_source=tokenizer", "forward_dynamics_checkpoint=null"]
    train_inverse.main([*inverse_overrides(trained), *common(trained, run="true_codes"), *of_true_motion])
    inverse = latest(trained, "inverse_dynamics", "true_codes")
    arguments = bundle_arguments(trained, forward_dynamics=other, inverse_dynamics=inverse)
    bundle.main([*arguments, "--out", str(out)])  # true motion's codes are the tokenizer's
    assert load_policy(out).action_horizon == 16


@pytest.mark.parametrize("half", [False, True])
def test_the_checkpoints_bundle_into_a_policy_that_acts(trained: Path, tmp_path: Path, half: bool) -> None:
    out = tmp_path / "policy.safetensors"
    bundle.main([*bundle_arguments(trained), "--out", str(out), *(["--half"] if half else [])])
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


def test_a_bundle_comes_apart_into_checkpoints_that_train_on_and_bundle_again(trained: Path, tmp_path: Path) -> None:
    one, other = tmp_path / "one.safetensors", tmp_path / "other.safetensors"
    bundle.main([*bundle_arguments(trained), "--out", str(one)])
    unbundle.main([str(one), "--out", str(tmp_path / "parts")])
    parts = {
        kind: tmp_path / "parts" / f"{kind}.safetensors"
        for kind in ("motion_tokenizer", "forward_dynamics", "inverse_dynamics")
    }
    bundle.main([*bundle_arguments(trained, **parts), "--out", str(other)])
    before, after = (build(checkpoint.read(path)).state_dict() for path in (one, other))
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert load_policy(one).origin == load_policy(other).origin
    for kind in parts:  # how each was trained is told by the second bundle, too
        told = [checkpoint.read(path).info["parts"][kind] for path in (one, other)]
        assert told[0]["data"] == told[1]["data"]
        assert told[0]["step"] == told[1]["step"]
    with pytest.raises(UserError, match="holds a motion_tokenizer checkpoint where a bundle one is needed"):
        unbundle.main([str(parts["motion_tokenizer"]), "--out", str(tmp_path)])


def test_the_mean_of_two_bundles_lies_between_them(trained: Path, tmp_path: Path) -> None:
    one, other, mean = (tmp_path / f"{name}.safetensors" for name in ("one", "other", "mean"))
    bundle.main([*bundle_arguments(trained), "--out", str(one)])
    policy = build(checkpoint.read(one))
    for weight in policy.inverse_dynamics.head.parameters():
        weight.add_(1.0)
    bundle.save_bundle(policy, other)
    average.main([str(one), str(other), "--share", "0.25", "--name", "mean", "--out", str(mean)])
    before, after = build(checkpoint.read(one)), build(checkpoint.read(mean))
    assert after.name == "mean"
    assert after.origin == before.origin
    pairs = zip(before.inverse_dynamics.head.parameters(), after.inverse_dynamics.head.parameters(), strict=True)
    for first, between in pairs:
        torch.testing.assert_close(between, first + 0.25)
    torch.testing.assert_close(after.forward_dynamics.sos_token, before.forward_dynamics.sos_token)
    with pytest.raises(UserError, match="must lie between 0 and 1"):
        average.main([str(one), str(other), "--share", "2", "--name", "mean"])
    other_design = tmp_path / "design.safetensors"
    bundle.save_bundle(make_policy(), other_design)
    with pytest.raises(UserError, match="the bundles differ in"):
        average.main([str(one), str(other_design), "--name", "mean"])


def test_a_bundle_tells_its_instructions_and_the_assets_it_learned_from(trained: Path, tmp_path: Path) -> None:
    out = tmp_path / "policy.safetensors"
    bundle.main([*bundle_arguments(trained), "--out", str(out)])
    told = load_policy(out).describe()
    assert told["instructions"] == ["open drawer number 0", "open drawer number 1"]
    assert told["assets"] == [ASSETS]


def test_a_bundle_trained_on_stored_embeddings_takes_their_instructions_as_text(trained: Path, tmp_path: Path) -> None:
    embeddings = np.random.default_rng(0).normal(size=(2, 512))
    for task, embedding in enumerate(embeddings):
        path = trained / "tracks" / "tiny" / "text" / f"task_{task}.hdf5"
        write_text_embedding(path, f"open drawer number {task}", embedding)
    stored = [*common(trained, run="stored", max_steps=1), "model.text_encoder.name=preprocessed"]
    train_forward.main([*forward_overrides(trained), *stored])
    forward = latest(trained, "forward_dynamics", "stored")
    train_inverse.main([*inverse_overrides(trained), *stored, f"forward_dynamics_checkpoint={forward}"])
    parts = {"forward_dynamics": forward, "inverse_dynamics": latest(trained, "inverse_dynamics", "stored")}
    out = tmp_path / "policy.safetensors"
    bundle.main([*bundle_arguments(trained, **parts), "--out", str(out), "--half"])

    policy = load_policy(out)
    images = np.zeros((2, 2, SIZE, SIZE, 3), np.uint8)
    texts = ["open drawer number 1", "open drawer number 0"]
    assert policy.describe()["instructions"] == texts[::-1]
    by_embedding = policy.act(images, None, embeddings[::-1].astype(np.float32))
    assert np.array_equal(policy.act(images, None, texts), by_embedding)
    with pytest.raises(UserError, match="nearest are 'open drawer number"):
        policy.act(images, None, ["open drawer number 2"] * 2)

    write_text_embedding(trained / "tracks" / "tiny" / "text" / "task_0.hdf5", "open drawer number 0", embeddings[1])
    train_inverse.main(
        [*inverse_overrides(trained), *stored, f"forward_dynamics_checkpoint={forward}", "run_name=others"]
    )
    parts["inverse_dynamics"] = latest(trained, "inverse_dynamics", "others")
    with pytest.raises(UserError, match="different embeddings of 'open drawer number 0'"):
        bundle.main([*bundle_arguments(trained, **parts), "--out", str(out)])


def test_codes_of_each_view_apart_are_predicted_acted_on_and_decoded(trained: Path, tmp_path: Path) -> None:
    run = common(trained, run="apart")
    train_tokenizer.main([*tokenizer_overrides(), *run, "per_view=true"])
    tokenizer = f"motion_tokenizer_checkpoint={latest(trained, 'motion_tokenizer', 'apart')}"
    train_forward.main([*forward_overrides(trained), *run, tokenizer])
    forward = f"forward_dynamics_checkpoint={latest(trained, 'forward_dynamics', 'apart')}"
    train_inverse.main([*inverse_overrides(trained), *run, tokenizer, forward])
    paths = [str(latest(trained, kind, "apart")) for kind in TRAINERS]
    out = tmp_path / "apart.safetensors"
    bundle.main(["--mt_ckpt", paths[0], "--fd_ckpt", paths[1], "--id_ckpt", paths[2], "--name", "x", "--out", str(out)])
    policy = load_policy(out)
    images = np.zeros((2, 2, SIZE, SIZE, 3), np.uint8) + 128
    text = ["open drawer number 0"] * 2
    assert policy.predict_codes(images, text)[0].shape == (2, 30)
    assert policy.act(images, None, text).shape == (2, 16, 7)
    assert policy.predict_traj(images, np.zeros((2, 2, 1, TRACKS, 2), np.float32), text).shape == (2, 2, 16, TRACKS, 2)
