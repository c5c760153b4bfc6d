"""From which energy on something happens: with true segments by their score, without by the motion itself."""

from collections.abc import Callable, Sequence

import numpy as np

from tokenizer.segmentation.scores import F1

QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)


def candidates(energy: np.ndarray) -> np.ndarray:
    """Thresholds that are worth a try: quantiles of all energies, the middles between them, the least and the most."""
    found = np.quantile(energy, QUANTILES)
    return np.unique(np.concatenate([found, (found[1:] + found[:-1]) / 2, [energy.min(), energy.max()]]))


def best_by_score(thresholds: Sequence[float], score: Callable[[float], F1]) -> float:
    """The threshold with the best F1, then the best precision; the last of equals."""
    return max(reversed(list(thresholds)), key=lambda threshold: score(threshold)[:2])


def otsu(values: np.ndarray, bins: int = 256) -> float:
    """The threshold that splits ``values`` into two groups as far apart as can be (Otsu, 1979): a bin's centre."""
    counts, edges = np.histogram(values, bins)
    centers = (edges[1:] + edges[:-1]) / 2
    below = np.cumsum(counts)
    above = counts.sum() - below
    sums = np.cumsum(counts * centers)
    with np.errstate(divide="ignore", invalid="ignore"):
        between = below * above * (sums / below - (sums[-1] - sums) / above) ** 2
    return float(centers[np.argmax(np.nan_to_num(between))])


def best_without_truth(energy: np.ndarray, velocity: np.ndarray) -> float:
    """The threshold of ``energy`` (w,) that agrees best with where ``velocity`` (w,) is over Otsu's threshold.

    Best is by F1, then by how much more often it hits than alarms falsely; the first of equals.
    """
    moves = velocity > otsu(velocity)
    values = np.unique(energy)
    thresholds = np.sort(np.concatenate([values, (values[1:] + values[:-1]) / 2]))

    def merit(threshold: float) -> tuple[float, float]:
        says = energy > threshold
        hits, alarms = int((says & moves).sum()), int((says & ~moves).sum())
        f1 = F1.of(hits, int(moves.sum()), int(says.sum())).f1
        return f1, hits / max(int(moves.sum()), 1) - alarms / max(int((~moves).sum()), 1)

    return float(max(thresholds, key=merit))
