"""One softmax over the codebook, or one for each digit: the same questions, answers that are always codes."""

import itertools

import pytest
import torch

from policy.code_heads import CodeHead, JointCodeHead, LevelsCodeHead
from tokenizer.fsq import FSQ

DIM = 8


def heads(size: int = 256) -> tuple[FSQ, JointCodeHead, LevelsCodeHead]:
    torch.manual_seed(0)
    quantize = FSQ(DIM, size)
    return quantize, JointCodeHead(DIM, quantize, size, masked=True), LevelsCodeHead(DIM, quantize)


@pytest.fixture
def features() -> torch.Tensor:
    return torch.randn(3, 5, DIM, generator=torch.Generator().manual_seed(1)) * 4


@pytest.mark.parametrize("which", [1, 2])
def test_what_is_likeliest_most_probable_and_expected_belongs_together(which: int, features: torch.Tensor) -> None:
    quantize, *both = heads()
    head: CodeHead = both[which - 1]
    logits = head(features)
    log_probabilities = head.log_probabilities(logits)[..., : quantize.num_codes]
    probabilities = log_probabilities.exp()
    torch.testing.assert_close(probabilities.sum(-1), torch.ones(3, 5))
    assert torch.equal(head.likeliest(logits), log_probabilities.argmax(-1))
    digits = quantize.digits(torch.arange(quantize.num_codes))
    torch.testing.assert_close(head.expected_digits(logits), probabilities @ digits)
    indices = torch.randint(quantize.num_codes, (3, 5))
    true = log_probabilities.gather(-1, indices.unsqueeze(-1))
    torch.testing.assert_close(head.loss(logits, indices), -true.mean())


def test_codes_that_are_certain_are_their_own_mean() -> None:
    quantize, joint, by_digit = heads()
    indices = torch.arange(quantize.num_codes).unsqueeze(0)
    certain = torch.nn.functional.one_hot(indices, joint.out_features).float() * 100
    codes = quantize.indices_to_codes(indices)
    torch.testing.assert_close(quantize.digits_to_codes(joint.expected_digits(certain)), codes)
    of_digits = torch.nn.functional.one_hot(by_digit.levels_of_codes, by_digit.out_features).sum(1).float() * 100
    torch.testing.assert_close(quantize.digits_to_codes(by_digit.expected_digits(of_digits.unsqueeze(0))), codes)
    assert torch.equal(by_digit.likeliest(of_digits), indices[0])


def test_a_softmax_for_each_digit_needs_a_hundredth_of_the_outputs() -> None:
    _, joint, by_digit = heads(2048)
    assert (joint.out_features, by_digit.out_features) == (2048, 8 + 8 + 6 + 5)


def test_outputs_that_are_no_code_are_impossible_unless_they_may_wrap(features: torch.Tensor) -> None:
    quantize, head, _ = heads()
    with torch.no_grad():
        head.bias[quantize.num_codes :] = 1e4
    assert (head.likeliest(head(features)) < quantize.num_codes).all()
    assert (head(features)[..., quantize.num_codes :] == -torch.inf).all()
    head(features).logsumexp(-1).sum().backward()
    assert head.weight.grad is not None
    assert head.weight.grad.isfinite().all()
    head.masked = False
    assert (head.likeliest(head(features)) >= quantize.num_codes).all()


def test_a_codebook_that_is_larger_than_its_name_is_predicted_as_a_whole(features: torch.Tensor) -> None:
    quantize, *both = heads(4096)
    last = torch.full((3, 5), quantize.num_codes - 1)
    assert quantize.num_codes == 4375
    for head in both:
        assert head.loss(head(features), last).isfinite()
        assert head.log_probabilities(head(features)).shape[-1] == quantize.num_codes


def test_near_digits_have_near_codes(features: torch.Tensor) -> None:
    quantize, _, by_digit = heads()
    uneven = torch.zeros(1, 1, by_digit.out_features)
    starts = list(itertools.accumulate((0, *quantize.levels)))
    uneven[..., [starts[0] + 2, starts[0] + 3]] = 50  # between two levels of the first digit
    between = by_digit.expected_digits(uneven)[0, 0, 0]
    values = quantize.digits(torch.arange(quantize.levels[0]))[:, 0]
    torch.testing.assert_close(between, (values[2] + values[3]) / 2)
