"""The whole policy: what it takes, and what it refuses with the reason."""

import numpy as np
import pytest

from common.errors import UserError
from policy.amplify import Amplify
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
