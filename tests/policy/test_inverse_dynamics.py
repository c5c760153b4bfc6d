"""Inverse dynamics: which inputs become condition tokens, in which order, under which names of weights."""

import copy
from dataclasses import replace

import pytest
import torch

from common.errors import UserError
from policy.inverse_dynamics import InverseConfig, InverseDynamics
from policy.text import TextConfig
from policy.vision import VisionConfig
from tokenizer.tracks.model import TokenizerConfig

TOKENIZER = TokenizerConfig(num_tracks=4, hidden_dim=16, num_heads=2, codebook_size=16)
ALL = InverseConfig(
    num_layers=1,
    num_heads=2,
    cond_on_text=True,
    normalize_proprio=True,
    hand_pose="panda",
    waypoints=2,
    vision_encoder=VisionConfig("small", 32, channels=(4, 4), embed_dim=8, keypoints=2),
    text_encoder=TextConfig("words", width=8, num_heads=2),
)
NO_IMAGES = replace(ALL, cond_on_img=False, waypoints=0)
THROUGH_CODES = replace(
    ALL,
    cond_on_text=False,
    waypoints_from_codes=True,
    code_adapter=True,
    vision_encoder=replace(ALL.vision_encoder, film=False),
)
"""The instruction reaches the actions through the codes alone."""


def inputs(batch: int = 2) -> tuple[torch.Tensor, ...]:
    """Image tokens, text features, proprioception and codes as ``ALL`` and ``TOKENIZER`` want them."""
    torch.manual_seed(1)
    return torch.randn(batch, 2, 17, 8), torch.randn(batch, 512), torch.randn(batch, 9), torch.randn(batch, 15, 16)


@pytest.mark.parametrize(
    ("config", "tokens"),
    [
        (ALL, 17 + 1 + 1 + 2 + 15),
        (NO_IMAGES, 1 + 1 + 15),
        (replace(NO_IMAGES, cond_on_text=False), 1 + 15),
        (replace(ALL, cond_on_tracks=False), 17 + 1 + 1 + 2),
    ],
)
def test_every_kind_of_input_becomes_its_tokens(config: InverseConfig, tokens: int) -> None:
    condition, waypoints = InverseDynamics(config, TOKENIZER).condition(*inputs())
    assert condition.shape == (2, tokens, 16)
    assert (waypoints is not None) == bool(config.waypoints)
    if waypoints is not None:
        assert waypoints.shape == (2, 2, 9)


def test_tokens_stand_in_the_order_images_text_proprioception_waypoints_codes() -> None:
    model = InverseDynamics(ALL, TOKENIZER).eval()
    images, text, proprio, codes = inputs()
    before, _ = model.condition(images, text, proprio, codes)
    changes = {
        "images": (images + 1, text, proprio, codes),
        "text": (images, text + 1, proprio, codes),
        "proprio": (images, text, proprio + 1, codes),
        "codes": (images, text, proprio, codes + 1),
    }
    changed = {
        name: (model.condition(*given)[0] != before).any(-1).all(0).nonzero().squeeze(1).tolist()
        for name, given in changes.items()
    }
    waypoints = [19, 20]  # they depend on all that is seen, not on the codes
    assert changed["images"] == [*range(17), *waypoints]
    assert changed["text"] == [17, *waypoints]
    assert changed["proprio"] == [18, *waypoints]
    assert changed["codes"] == list(range(21, 36))


def test_weights_keep_the_names_that_checkpoints_have() -> None:
    names = {name.split(".")[0] for name in InverseDynamics(ALL, TOKENIZER).state_dict()}
    assert names == {
        *("vision_encoder", "text_encoder", "img_proj", "text_proj", "proprio_proj", "proprio_mean", "proprio_std"),
        *("waypoints", "head"),
    }


def test_the_instruction_can_be_kept_out_altogether() -> None:
    model = InverseDynamics(THROUGH_CODES, TOKENIZER)
    assert model.text_encoder is None
    assert not [name for name, _ in model.named_parameters() if "text" in name or "film" in name]
    condition, waypoints = model.encode(torch.rand(2, 2, 32, 32, 3), None, *inputs()[2:])
    assert condition.shape == (2, 17 + 1 + 2 + 15, 16)
    assert waypoints is not None


def test_waypoints_may_depend_on_the_codes() -> None:
    model = InverseDynamics(THROUGH_CODES, TOKENIZER).eval()
    images, _, proprio, codes = inputs()
    before, after = (model.condition(images, None, proprio, c)[1] for c in (codes, codes.flip(1)))
    assert before is not None
    assert after is not None
    assert not torch.allclose(before, after, atol=1e-4)


@pytest.mark.parametrize("adapter", [False, True])
def test_the_adapter_lets_the_order_of_codes_matter(adapter: bool) -> None:
    torch.manual_seed(0)
    model = InverseDynamics(replace(THROUGH_CODES, code_adapter=adapter, waypoints=0), TOKENIZER).eval()
    images, _, proprio, codes = inputs()
    actions, permuted = (
        model.head.act(model.condition(images, None, proprio, c)[0]) for c in (codes, codes[:, torch.randperm(15)])
    )
    assert torch.allclose(actions, permuted, atol=1e-4) is not adapter


@pytest.mark.parametrize("kind", ["gaussian", "diffusion", "flow"])
@pytest.mark.parametrize("seen", ["img", "text", "proprio", "tracks"])
def test_every_head_takes_any_one_kind_of_input(kind: str, seen: str) -> None:
    only = {f"cond_on_{name}": name == seen for name in ("img", "text", "proprio", "tracks")}
    config = replace(ALL, type=kind, waypoints=0, hand_pose=None, diffusion_steps=3, flow_matching_steps=2, **only)  # type: ignore[arg-type]
    model = InverseDynamics(config, TOKENIZER)
    given = {"img": 0, "text": 1, "proprio": 2, "tracks": 3}[seen]
    condition, _ = model.condition(*(x if place == given else None for place, x in enumerate(inputs())))
    loss, _ = model.head.losses(condition, torch.zeros(2, 16, 7))
    loss.mean().backward()
    assert model.act(condition, model.head.noise(2)).shape == (2, 16, 7)


def test_normalised_actions_fill_what_the_head_can_reach_and_come_back() -> None:
    model = InverseDynamics(replace(NO_IMAGES, normalize_actions="min_max"), TOKENIZER).eval()
    seen = torch.rand(50, 7) * torch.linspace(0.1, 3, 7) - 0.05
    seen[:, 3] = 0.4  # never changes
    model.set_statistics(torch.randn(50, 9), seen)
    stretched = model._normalized(seen)
    others = [0, 1, 2, 4, 5, 6]
    assert torch.allclose(stretched.amin(0)[others], torch.tensor(-1.0), atol=1e-5)
    assert torch.allclose(stretched.amax(0)[others], torch.tensor(1.0), atol=1e-5)
    assert torch.allclose(stretched[:, 3], torch.tensor(0.4))
    assert torch.allclose(model.denormalized(stretched), seen, atol=1e-5)
    condition, _ = model.condition(None, *inputs()[1:])
    actions = model.act(condition, model.head.noise(2))
    assert (actions >= seen.amin(0) - 1e-5)[..., others].all()
    assert (actions <= seen.amax(0) + 1e-5)[..., others].all()
    assert {"action_low", "action_high"} <= model.state_dict().keys()


def test_a_copy_has_condition_tokens_of_its_own() -> None:
    model = InverseDynamics(NO_IMAGES, TOKENIZER)
    before, _ = model.condition(*inputs())
    other = copy.deepcopy(model)
    for parameter in other.parameters():
        parameter.data.zero_()
    assert torch.equal(model.condition(*inputs())[0], before)
    assert not other.condition(*inputs())[0][:, :2].any()


def test_what_a_policy_is_conditioned_on_has_to_be_given() -> None:
    images, text, proprio, codes = inputs()
    model = InverseDynamics(ALL, TOKENIZER)
    with pytest.raises(UserError, match="conditioned on images"):
        model.condition(None, text, proprio, codes)
    with pytest.raises(UserError, match="conditioned on text"):
        model.condition(images, None, proprio, codes)
    with pytest.raises(UserError, match="conditioned on proprioception"):
        model.condition(images, text, None, codes)
    with pytest.raises(UserError, match="conditioned on motion codes"):
        model.condition(images, text, proprio, None)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (dict.fromkeys(("cond_on_tracks", "cond_on_proprio", "cond_on_img"), False), "at least one of"),
        ({"hand_pose": "panda", "cond_on_proprio": False}, "hand_pose is part of the proprioception"),
        ({"waypoints": 1}, "waypoints needs"),
        ({"waypoints": 1, "hand_pose": "panda"}, "cond_on_text=true.* or .*waypoints_from_codes=true"),
        ({"code_adapter": True, "cond_on_tracks": False}, "need the motion codes"),
        ({"type": "flow", "gripper": "classification"}, "is for type=gaussian"),
        ({"type": "diffusion", "diffusion_sampler": "ddim", "ddim_steps": 101}, "must be at most diffusion_steps=100"),
        ({"flow_matching_steps": 0}, "must be at least 1"),
        ({"action_key": "joint_states"}, "set action_dim=8 normalize_actions=min_max"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        InverseConfig(**settings)
