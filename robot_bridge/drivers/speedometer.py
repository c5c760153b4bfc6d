"""Joint velocities of an arm that measures positions only."""

from collections import deque

import numpy as np

WINDOW = 0.1
"""Seconds over which velocity is taken: hobby servos measure in steps of 0.0015 rad."""
STANDS = 0.02
"""Rad/s that is one such step within ``WINDOW``, and so no motion."""


class Speedometer:
    """Velocity as the difference of positions over the last ``WINDOW``.

    >>> speedometer = Speedometer()
    >>> speedometer.velocity(np.array([0.0, 1.0]), 10.0), speedometer.velocity(np.array([0.1, 1.0]), 10.1)
    (array([0., 0.]), array([1., 0.]))
    """

    def __init__(self) -> None:
        self._past: deque[tuple[float, np.ndarray]] = deque()

    def velocity(self, q: np.ndarray, at: float) -> np.ndarray:
        """Rad/s (n,) of an arm that was at ``q`` (n,) rad at ``at`` (s), which grows from call to call."""
        self._past.append((at, q))
        while len(self._past) > 2 and self._past[1][0] <= at - WINDOW:
            self._past.popleft()
        passed = at - self._past[0][0]
        dq = (q - self._past[0][1]) / passed if passed > 0 else np.zeros_like(q)
        return np.where(np.abs(dq) < STANDS, 0.0, dq)

    def forget(self) -> None:
        """The arm was out of sight."""
        self._past.clear()
