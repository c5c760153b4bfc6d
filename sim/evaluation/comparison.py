"""Two evaluations of the same episodes, side by side: which of them differ, and could that be chance?"""

import math
from dataclasses import dataclass

from sim.evaluation.results import EpisodeResult, Results


def sign_test(first: int, second: int) -> float:
    """The two-sided p-value of ``first`` against ``second`` wins among pairs that differ (exact sign test, McNemar).

    The chance, if both were equally good, of a split at least this uneven.

    >>> round(sign_test(9, 1), 4), sign_test(3, 3), sign_test(0, 0)
    (0.0215, 1.0, 1.0)
    """
    pairs, fewer = first + second, min(first, second)
    if not pairs:
        return 1.0
    return min(1.0, 2 * sum(math.comb(pairs, wins) for wins in range(fewer + 1)) / 2**pairs)


@dataclass(frozen=True)
class Comparison:
    """Counts of episodes that both evaluations played to their end, from the same initial state."""

    both: int
    only_first: int
    only_second: int
    neither: int

    @property
    def pairs(self) -> int:
        return self.both + self.only_first + self.only_second + self.neither

    @property
    def p_value(self) -> float:
        return sign_test(self.only_first, self.only_second)


def paired(first: Results, second: Results) -> list[tuple[EpisodeResult, EpisodeResult]]:
    """Episodes of the same task and number, thus of the same initial state, which neither evaluation broke."""
    pairs = (
        (first.episodes[key], second.episodes[key]) for key in sorted(first.episodes.keys() & second.episodes.keys())
    )
    return [(a, b) for a, b in pairs if a.error is None and b.error is None and a.init_state == b.init_state]


def compare(pairs: list[tuple[EpisodeResult, EpisodeResult]]) -> Comparison:
    """Count how pairs ended."""
    ends = [(a.success, b.success) for a, b in pairs]
    return Comparison(
        both=ends.count((True, True)),
        only_first=ends.count((True, False)),
        only_second=ends.count((False, True)),
        neither=ends.count((False, False)),
    )
