"""The whole policy: what it takes, and what it refuses with the reason; the instructions it knows."""

import logging

import numpy as np
import pytest
import torch

from common.errors import UserError
from demos.origin import Origin
from policy.amplify import Amplify
from policy.interface import Plan, inpaints
from tests.policy.tiny import SIZE, TRACKS, make_policy

TEXT = ["open it", "close it"]


@pytest.fixture(scope="module")
def policy() -> Amplify:
    return make_policy()


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (2, 2, SIZE, SIZE, 3), dtype=np.uint8)


def test_bytes_and_floats_of_the_same_images_give_the_same_actions(policy: Amplify, images: np.ndarray) -> None:
    actions = policy.act(images, None, TEXT)
    assert actions.shape == (2, 16, 7)
    assert np.allclose(actions, policy.act((images / 255).astype(np.float32), None, TEXT), atol=1e-5)
    assert np.allclose(actions, policy.act(images / 255, None, TEXT), atol=1e-5)
    a_little_outside = (images / 255 * (1 + 1e-6)).astype(np.float32)
    assert np.allclose(actions, policy.act(a_little_outside, None, TEXT), atol=1e-4)


@pytest.mark.parametrize("method", ["act", "predict_codes", "predict_traj"])
@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda images: images.astype(np.float32), r"float32 must lie in \[0, 1\], not between 0 and 255"),
        (lambda images: images / 127.5 - 1, r"must lie in \[0, 1\], not between -1 and 1"),
        (lambda images: np.where(images > 250, np.nan, images / 255), r"not between nan and nan"),
        (lambda images: images.astype(np.int32), "uint8, or floats .* not int32"),
        (lambda images: images > 127, "uint8, or floats .* not bool"),
        (lambda images: images[:, :1], r"must have shape \(b, 2, h, w, 3\)"),
    ],
)
def test_images_that_would_be_misread_are_refused(
    policy: Amplify, images: np.ndarray, method: str, spoil, message: str
) -> None:
    arguments = {
        "act": (None, TEXT),
        "predict_codes": (TEXT,),
        "predict_traj": (np.zeros((2, 2, 1, TRACKS, 2), np.float32), TEXT),
    }
    with pytest.raises(UserError, match=message):
        getattr(policy, method)(spoil(images), *arguments[method])


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_proprioception_that_is_no_number_is_refused(policy: Amplify, images: np.ndarray, value: float) -> None:
    proprio = np.zeros((2, 9), np.float32)
    proprio[1, 4] = value
    with pytest.raises(UserError, match=f"number 4 of sample 1 is {value}"):
        policy.act(images, proprio, TEXT)


def knowing(*texts: str) -> Amplify:
    """A policy that carries random embeddings of these instructions."""
    torch.manual_seed(1)
    return make_policy("preprocessed", text_embeddings={text: torch.randn(512) for text in texts})


def test_an_instruction_that_is_known_is_its_embedding(images: np.ndarray) -> None:
    policy = knowing("close it", "open it", "wipe it")
    stored = policy.known_instructions.embeddings
    embeddings = np.stack([stored["open it"], stored["close it"]])
    actions = policy.act(images, None, embeddings)
    assert np.array_equal(actions, policy.act(images, None, ["open it", "close it"]))
    assert np.array_equal(actions, policy.act(images, None, ["Open  it", "close_it "]))
    assert not np.array_equal(actions, policy.act(images, None, ["wipe it", "close it"]))
    queries = np.zeros((2, 2, 1, TRACKS, 2), np.float32)
    for text in (TEXT, embeddings):
        indices, _ = policy.predict_codes(images, text)
        assert np.array_equal(indices, policy.predict_codes(images, TEXT)[0])
        assert policy.predict_traj(images, queries, text).shape == (2, 2, 16, TRACKS, 2)


def test_an_unknown_instruction_is_refused_and_the_nearest_named(images: np.ndarray) -> None:
    policy = knowing("open the top drawer", "open the bottom drawer", "push the plate", "turn on the stove")
    with pytest.raises(UserError, match=r"no embedding of .*'open the drawer'; of the 4 .* 'open the top drawer'"):
        policy.act(images, None, ["push the plate", "open the drawer"])


def test_without_any_embedding_instructions_are_zeros_and_it_says_so_once(
    images: np.ndarray, caplog: pytest.LogCaptureFixture
) -> None:
    policy = knowing()
    with caplog.at_level(logging.WARNING):
        actions = policy.act(images, None, TEXT)
        policy.predict_codes(images, TEXT)
    assert [record.message for record in caplog.records if "--text-embeddings DIR" in record.message] != []
    assert len(caplog.records) == 1
    assert np.array_equal(actions, policy.act(images, None, np.zeros((2, 512), np.float32)))


def test_embeddings_of_another_width_are_refused() -> None:
    with pytest.raises(UserError, match=r"'open it' has shape \(768,\), not \(512,\)"):
        make_policy("preprocessed", text_embeddings={"open it": torch.zeros(768)})
    with pytest.raises(UserError, match=r"must have shape \(b, 512\), not \(1, 768\)"):
        make_policy("preprocessed").predict_codes(np.zeros((1, 2, 8, 8, 3), np.uint8), np.zeros((1, 768)))


def test_a_policy_tells_what_it_learned_from_where_it_knows() -> None:
    told = make_policy(origin=Origin(("open it",), ("9a1f",))).describe()
    assert (told["instructions"], told["assets"]) == (["open it"], ["9a1f"])
    assert not {"instructions", "assets"} & set(make_policy().describe())


@pytest.mark.parametrize("normalize", [None, "min_max"])
def test_a_policy_with_a_flow_head_goes_on_with_a_plan_in_its_own_units(images: np.ndarray, normalize) -> None:
    policy = make_policy(inverse={"type": "flow", "flow_matching_steps": 5, "normalize_actions": normalize})
    if normalize:
        policy.inverse_dynamics.action_low.fill_(-0.5)
        policy.inverse_dynamics.action_high.fill_(0.5)
    assert inpaints(policy)
    planned = np.full((2, 16, 7), 0.25, np.float32)
    weights = np.zeros((2, 16), np.float32)
    free = policy.act(images, None, TEXT)
    np.testing.assert_allclose(policy.act(images, None, TEXT, Plan(planned, weights)), free, atol=1e-5)
    weights[0, :4] = 1
    guided = policy.act(images, None, TEXT, Plan(planned, weights))
    assert np.abs(guided - planned)[0, :4].mean() < 0.3 * np.abs(free - planned)[0, :4].mean()
    np.testing.assert_allclose(guided[1], free[1], atol=1e-5)
    with pytest.raises(UserError, match=r"a plan is actions \(2, 16, 7\)"):
        policy.act(images, None, TEXT, Plan(planned[:, :8], weights))


def test_a_policy_with_another_head_says_that_it_does_not(policy: Amplify, images: np.ndarray) -> None:
    assert not inpaints(policy)
    with pytest.raises(UserError, match="only policies with a flow head"):
        policy.act(images, None, TEXT, Plan(np.zeros((2, 16, 7), np.float32), np.ones((2, 16), np.float32)))
