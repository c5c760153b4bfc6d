"""The box that the arm stays in: the end effector inside all its walls, every part of the arm above its floor.

What is looked at is where the arm will be, not what was wished: a whole path, from the present command to where braking
ends. Positions in m, base frame, z upwards.
"""

from typing import Protocol

import numpy as np

from robot_bridge.config import SafetyConfig

SPACING = 0.05
"""rad, summed over the joints, between two poses that are looked at.

The box is convex, and between two poses in it a point that is at most r from every joint's axis strays at most
r SPACING^2 / 8 from the straight line: .4 mm for a Panda.
"""
INSET = 0.002
"""m: wishes are kept this far inside the walls, so that a path along a wall, which bends a little, stays inside."""
ROUNDING = 1e-9


class Body(Protocol):
    """What the box needs of an arm's kinematics."""

    radii: np.ndarray
    """(m,) m of the spheres that stand for the arm; the first is the end effector's, 0."""

    @property
    def base(self) -> tuple[np.ndarray, np.ndarray]:
        """Where the base frame stands in the model's: position (3,) m and rotation (3, 3)."""
        ...

    def centres(self, path: np.ndarray) -> np.ndarray:
        """Middles (t, m, 3) of the spheres, for joints (t, n) rad."""
        ...

    def depth(self, rotation: np.ndarray) -> float:
        """How far (m) the hand reaches below the end effector when it is turned like ``rotation`` (3, 3)."""
        ...


class Workspace:
    """The box around one arm. An arm that starts outside may come back, and never goes further out than it was."""

    def __init__(self, config: SafetyConfig, body: Body, start: np.ndarray):
        self._lower, self._upper, self._floor = config.workspace_lower, config.workspace_upper, config.workspace_floor
        self._body = body
        self.allowed = np.minimum(0.0, self.clearance(start[None])[0])
        """(k,) m, 0 or below for each condition: how far outside the arm may be, because it still is."""

    def clearance(self, poses: np.ndarray) -> np.ndarray:
        """How far (m) inside each of the k conditions the arm is at joints (t, n) rad: (t, k), negative outside."""
        centres = self._body.centres(poses)
        hand = centres[:, 0]
        heights = centres[:, :, 2] - self._body.radii - self._floor
        return np.concatenate([hand - self._lower, self._upper - hand, heights], axis=1)

    def admits(self, path: np.ndarray) -> bool:
        """Whether the arm stays inside all along ``path`` (t, n) rad."""
        return bool((self.clearance(densified(path)) >= self.allowed - ROUNDING).all())

    def settle(self, path: np.ndarray) -> None:
        """``path`` (t, n) rad is taken: what it brings back inside stays inside."""
        if (self.allowed < 0).any():
            self.allowed = np.maximum(self.allowed, np.minimum(0.0, self.clearance(densified(path)).min(axis=0)))

    def nearest(self, position: np.ndarray, rotation: np.ndarray, at_most: float = np.inf) -> np.ndarray:
        """The point (3,) m inside that is nearest to ``position``, for a hand that is turned like ``rotation``; or on
        the way there, ``at_most`` (m) away."""
        lower, upper = self._lower + INSET, self._upper - INSET
        lower[2] = max(lower[2], self._floor + INSET + self._body.depth(rotation))
        shift = np.clip(position, lower, np.maximum(lower, upper)) - position
        return position + shift * min(1.0, at_most / max(float(np.linalg.norm(shift)), ROUNDING))


def densified(path: np.ndarray) -> np.ndarray:
    """The points of ``path`` (t, n) rad and so many between them that none is further than SPACING from the next."""
    legs = np.diff(path, axis=0)
    pieces = np.maximum(1, np.ceil(np.abs(legs).sum(axis=1) / SPACING)).astype(int)
    inner = [
        start + leg * np.arange(1, count + 1)[:, None] / count
        for start, leg, count in zip(path[:-1], legs, pieces, strict=True)
    ]
    return np.concatenate([path[:1], *inner])
