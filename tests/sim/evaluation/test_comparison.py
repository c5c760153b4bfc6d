"""Two evaluations side by side: which episodes are pairs, and how likely their differences are by chance."""

from pathlib import Path

import pytest

from sim.evaluation.comparison import Comparison, compare, paired, sign_test
from tests.sim.report.examples import make_results


def test_the_sign_test_is_the_exact_binomial_one():
    assert sign_test(10, 0) == pytest.approx(2 / 2**10)
    assert sign_test(0, 5) == pytest.approx(2 / 2**5)
    assert sign_test(8, 2) == pytest.approx(2 * (1 + 10 + 45) / 2**10)
    assert sign_test(4, 4) == 1


def test_pairs_are_the_same_task_and_initial_state_and_not_broken(tmp_path: Path):
    first = make_results(tmp_path / "a", "a", lambda number: number % 2 == 0, episodes=6)
    second = make_results(tmp_path / "b", "b", lambda number: number < 2, episodes=5)
    pairs = paired(first, second)
    assert [a.key == b.key and a.init_state == b.init_state for a, b in pairs] == [True] * 4
    assert compare(pairs) == Comparison(both=1, only_first=2, only_second=1, neither=0)
