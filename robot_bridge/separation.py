"""The distance that arms of one robot keep from each other, between the spheres that stand for them.

As with the box, what is looked at is a whole path, from the present command to where braking ends. Metres, the model's
frame.
"""

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from robot_bridge.workspace import ROUNDING, Body, densified


class Separation:
    """Keeps ``arms`` (kinematics, and which of the robot's joints are theirs) ``distance`` (m) from each other.

    Arms that start nearer, ``start`` (n,) rad, may part, and never get nearer than they were. Between two poses that
    are looked at (``workspace.SPACING``), spheres 5 cm apart that pass each other get at most 1 cm nearer.
    """

    def __init__(self, distance: float, arms: Sequence[tuple[Body, slice]], start: np.ndarray):
        self._arms = arms
        self._distance = np.full(len(arms) * (len(arms) - 1) // 2, distance)
        self._allowed = np.minimum(self._distance, self.gaps(start[None])[0])

    def gaps(self, path: np.ndarray) -> np.ndarray:
        """How far (m) apart the arms of each of the p pairs are, at joints (t, n) rad: (t, p), negative inside."""
        places = []
        for body, joints in self._arms:
            origin, rotation = body.base
            places.append((body.centres(path[:, joints]) @ rotation.T + origin, body.radii))
        pairs = [
            (np.linalg.norm(one[:, :, None] - other[:, None], axis=-1) - radii[:, None] - other_radii).min(axis=(1, 2))
            for (one, radii), (other, other_radii) in combinations(places, 2)
        ]
        return np.stack(pairs, axis=1) if pairs else np.empty((len(path), 0))

    def admits(self, path: np.ndarray) -> bool:
        """Whether the arms stay apart all along ``path`` (t, n) rad."""
        return not len(self._distance) or bool((self.gaps(densified(path)) >= self._allowed - ROUNDING).all())

    def settle(self, path: np.ndarray) -> None:
        """``path`` (t, n) rad is taken: arms that it parts stay so."""
        if (self._allowed < self._distance).any():
            least = self.gaps(densified(path)).min(axis=0)
            self._allowed = np.maximum(self._allowed, np.minimum(self._distance, least))
