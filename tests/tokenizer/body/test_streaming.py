"""Motion that comes in pieces gives what the whole gives, and what is yet to come changes nothing."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import UserError
from tokenizer.body.features import BodyTensors, features_of, rotation_of
from tokenizer.body.model import BodyTokenizer
from tokenizer.body.options import BodyConfig
from tokenizer.body.streaming import BodyStream, FeatureStream

JOINTS = 3


def make_tokenizer(**options: object) -> BodyTokenizer:
    torch.manual_seed(0)
    config = BodyConfig(num_joints=JOINTS, hidden_dim=48, latent_dim=8, num_resnet_blocks=1, **options)
    tokenizer = BodyTokenizer(config, 30.0)
    for parameter in tokenizer.parameters():
        if parameter.ndim == 3:
            torch.nn.init.normal_(parameter, std=(parameter.shape[1] * parameter.shape[2]) ** -0.5)
    return tokenizer.requires_grad_(False).eval()


def make_body(frames: int, batch: int = 2) -> BodyTensors:
    torch.manual_seed(1)
    return BodyTensors(
        torch.randn(batch, frames, 3),
        rotation_of(torch.randn(batch, frames, 6)),
        torch.randn(batch, frames, JOINTS, 3),
        rotation_of(torch.randn(batch, frames, JOINTS, 6)),
    )


def cut(frames: int, cuts: list[int]) -> list[slice]:
    ends = sorted({0, frames, *(c for c in cuts if c < frames)})
    return [slice(a, b) for a, b in pairwise(ends)]


@pytest.mark.parametrize("look_ahead", [False, True])
@given(cuts=st.lists(st.integers(1, 40), max_size=12), quarters=st.integers(1, 10))
@settings(max_examples=20, deadline=None)
def test_any_pieces_give_what_the_whole_gives(look_ahead: bool, cuts: list[int], quarters: int) -> None:
    tokenizer = make_tokenizer(look_ahead=look_ahead)
    body, frames = make_body(4 * quarters), 4 * quarters
    whole = features_of(body)
    latents = tokenizer.encode(whole)
    rebuilt = tokenizer.decode(latents)
    features, stream = FeatureStream(), BodyStream(tokenizer)
    vectors, motion = [], []
    for part in cut(frames, cuts):
        piece = features.push(BodyTensors(**{name: x[:, part] for name, x in vars(body).items()}))
        torch.testing.assert_close(piece, whole[:, part], rtol=0, atol=1e-5)
        vectors.append(stream.encode(piece))
        motion.append(stream.decode(vectors[-1]))
    torch.testing.assert_close(torch.cat(vectors, 1), latents, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(torch.cat(motion, 1), rebuilt, rtol=1e-5, atol=1e-5)


def test_frame_by_frame_a_vector_comes_with_every_fourth_frame() -> None:
    tokenizer = make_tokenizer()
    whole = features_of(make_body(12))
    stream = BodyStream(tokenizer)
    counts = [stream.encode(whole[:, i : i + 1]).shape[1] for i in range(12)]
    assert counts == [1, 0, 0, 0] * 3
    stream = BodyStream(make_tokenizer(look_ahead=True))
    assert [stream.encode(whole[:, i : i + 1]).shape[1] for i in range(12)] == [0, 0, 0, 1] * 3


@pytest.mark.parametrize("look_ahead", [False, True])
@given(at=st.integers(1, 39), seed=st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_a_later_frame_never_changes_an_earlier_output(look_ahead: bool, at: int, seed: int) -> None:
    """With look_ahead an output is of the block of four frames that its vector waits for."""
    tokenizer = make_tokenizer(look_ahead=look_ahead)
    whole = features_of(make_body(40))
    changed = whole.clone()
    torch.manual_seed(seed)
    changed[:, at:] = torch.randn_like(changed[:, at:])
    before, after = tokenizer.encode(whole), tokenizer.encode(changed)
    seen = at // 4 if look_ahead else (at - 1) // 4 + 1  # so many vectors are complete before frame ``at``
    torch.testing.assert_close(before[:, :seen], after[:, :seen], rtol=0, atol=0)
    rebuilt, other = tokenizer.decode(before), tokenizer.decode(after)
    torch.testing.assert_close(rebuilt[:, : 4 * seen], other[:, : 4 * seen], rtol=0, atol=1e-6)
    if look_ahead or at <= 36:
        assert not torch.equal(rebuilt, other)
    else:
        assert torch.equal(before, after)  # the last three frames of a motion reach no vector


def test_zeros_after_a_motion_change_nothing_of_it() -> None:
    tokenizer = make_tokenizer()
    whole = features_of(make_body(20))
    longer = torch.cat([whole, torch.zeros(2, 12, whole.shape[-1])], 1)
    torch.testing.assert_close(tokenizer.encode(longer)[:, :5], tokenizer.encode(whole), rtol=0, atol=1e-6)


def test_the_published_mode_cannot_be_streamed() -> None:
    with pytest.raises(UserError, match="sees the whole motion"):
        BodyStream(make_tokenizer(mode="published"))


@pytest.mark.parametrize("frames", [0, 3, 10])
def test_a_motion_whose_length_is_no_multiple_of_four_is_refused(frames: int) -> None:
    tokenizer = make_tokenizer()
    with pytest.raises(UserError, match="only of a multiple of 4"):
        tokenizer.encode(torch.zeros(1, frames, tokenizer.config.input_dim))
