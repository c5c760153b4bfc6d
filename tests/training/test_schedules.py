"""How learning rates go."""

import pytest

from training.schedules import linear_cosine


def test_a_linear_warm_up_ends_at_the_full_rate_and_a_cosine_ends_above_its_floor() -> None:
    rates = [linear_cosine(step, 4, 20, floor=0.1) for step in range(20)]
    assert rates[:5] == pytest.approx([0, 1 / 3, 2 / 3, 1, 1])
    assert sorted(rates[4:], reverse=True) == rates[4:]
    assert 0.1 < rates[-1] < 0.12
    assert linear_cosine(20, 4, 20, floor=0.1) == pytest.approx(0.1)
