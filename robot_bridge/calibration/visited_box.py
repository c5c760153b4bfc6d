"""The workspace box as what a guided arm has visited: walls for its hand, a floor for all of it."""

import numpy as np

from robot_bridge.calibration.measurements import Unclear
from robot_bridge.config import Box
from robot_bridge.workspace import Body

NARROWEST = 0.05
"""m that a box measures at least, from wall to wall."""


class VisitedBox:
    """Grows with every pose of an arm, ``body``, whose joints lie within ``lower`` and ``upper`` (n,) rad.

    Poses beyond these are counted and do not make it larger: the loop would not go there.
    """

    def __init__(self, body: Body, lower: np.ndarray, upper: np.ndarray):
        self._body, self._joint_lower, self._joint_upper = body, lower, upper
        self._lower, self._upper = np.full(3, np.inf), np.full(3, -np.inf)
        self._floor = np.inf
        self.poses = self.beyond = 0
        self.furthest = np.zeros(len(lower))
        """(n,) rad that each joint was beyond its range, at most."""

    def visit(self, q: np.ndarray) -> None:
        """Joints (n,) rad at which the arm has been."""
        beyond = np.maximum(0.0, np.maximum(self._joint_lower - q, q - self._joint_upper))
        self.furthest = np.maximum(self.furthest, beyond)
        if beyond.any():
            self.beyond += 1
            return
        self.poses += 1
        (centres,) = self._body.centres(q[None])
        self._lower, self._upper = np.minimum(self._lower, centres[0]), np.maximum(self._upper, centres[0])
        self._floor = min(self._floor, float((centres[:, 2] - self._body.radii).min()))

    def less(self, margin: float) -> Box:
        """The box, ``margin`` (m) inside of what was visited on every side and above its floor.

        Raises:
            Unclear: too little was visited to leave a box.
        """
        if not self.poses:
            raise Unclear("the arm was never within its limits (safety.position); is the pose of the last step right?")
        box = Box(self._lower + margin, self._upper - margin, self._floor + margin)
        for axis, ends, side in zip(
            "xyz", ("front and back", "left and right", "top and bottom"), box.upper - box.lower, strict=True
        ):
            if side < NARROWEST:
                raise Unclear(
                    f"the hand went {max(0.0, side + 2 * margin) * 100:.0f} cm along {axis}: guide it to {ends}, too"
                )
        return box

    def __str__(self) -> str:
        if not self.poses:
            return "beyond the limits of safety.position"
        sides = zip("xyz", self._lower, self._upper, strict=True)
        walls = "  ".join(f"{axis} {lower:.3f} to {upper:.3f}" for axis, lower, upper in sides)
        return f"{walls}  floor {self._floor:.3f} m"
