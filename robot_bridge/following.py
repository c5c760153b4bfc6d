"""Does the arm go where it is told? A joint that is stuck, blocked or weak lets the command run ahead of it.

On a real arm that is a growing force on whatever is in the way, and a jump when it gives. So the measured joints are
compared with the commands that they should have reached by then, and the loop holds, then stops.
"""

from collections import deque
from collections.abc import Sequence

import numpy as np

from robot_bridge.config import FollowingConfig
from robot_bridge.safety import Watchdog


class FollowingMonitor:
    """Compares measured joints (n,) rad, simulator order, with commands; tells ``watchdog`` when one is too far off.

    ``lag`` (s) is how long after a command was sent the arm gets there, ``slack`` (s) how wrong that may be to either
    side: a joint is where it should be anywhere between the commands of that time. Times are monotonic seconds.
    """

    def __init__(self, config: FollowingConfig, watchdog: Watchdog, names: Sequence[str], lag: float, slack: float):
        self._config, self._watchdog, self._names, self._lag, self._slack = config, watchdog, names, lag, slack
        self._hold, self._stop = np.broadcast_to(config.hold, len(names)), np.broadcast_to(config.stop, len(names))
        self._commands: deque[tuple[float, np.ndarray]] = deque()
        self._behind_since: float | None = None
        self.largest = np.zeros(len(names))
        """The largest distance (n,) rad of each joint from its command so far."""

    def restart(self, at: float, q: np.ndarray) -> None:
        """The arm stands at ``q``, and so does its command."""
        self._commands = deque([(at, np.array(q))])
        self._behind_since = None

    def commanded(self, at: float, q: np.ndarray) -> None:
        """A command was sent."""
        self._commands.append((at, np.array(q)))

    def check(self, measured: np.ndarray, at: float) -> None:
        """What was measured at ``at``: holds while a joint is beyond its ``hold``, stops beyond its ``stop``.

        Held for ``patience`` it stops as well. A hold ends when all joints are within half their ``hold``.
        """
        distance = self._distance(measured, at)
        self.largest = np.maximum(self.largest, distance)
        worst = int(np.argmax(distance / self._hold))
        text = f"{self._names[worst]} is {distance[worst]:.3f} rad from where it should be"
        if (distance > self._stop).any():
            self._watchdog.stop(text)
        elif (distance > self._hold).any() and self._behind_since is None:
            self._behind_since = at
            self._watchdog.hold(text)
        elif self._behind_since is not None and (distance < self._hold / 2).all():
            self._behind_since = None
            self._watchdog.release()
        elif self._behind_since is not None and at - self._behind_since > self._config.patience:
            self._watchdog.stop(f"{text}, for {self._config.patience:g} s")

    def _distance(self, measured: np.ndarray, at: float) -> np.ndarray:
        """How far (n,) rad the joints are from the path of the commands around their time; 0 on it."""
        first, last = at - self._lag - self._slack, at - self._lag + self._slack
        while len(self._commands) > 1 and self._commands[1][0] <= first:
            self._commands.popleft()
        times = np.array([when for when, _ in self._commands])
        path = np.stack([q for _, q in self._commands])
        ends = [[np.interp(end, times, joint) for joint in path.T] for end in (first, last)]
        path = np.vstack([*ends, path[(first < times) & (times < last)]])
        return np.maximum(0.0, np.maximum(path.min(axis=0) - measured, measured - path.max(axis=0)))
