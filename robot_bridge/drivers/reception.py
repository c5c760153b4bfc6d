"""Which targets a driver takes: the rules of docs/robot_protocol.md, for drivers written in Python."""

import secrets

from robot_bridge.drivers.protocol import Target, unpack_target

TARGET_TIMEOUT = 0.25
"""Seconds without a target after which a robot holds, and after which another loop may take over.

A target that was under way for longer than that is not followed either.
"""


class Reception:
    """Looks at every message that comes for a robot with ``dof`` joints and ``grippers``.

    Times are seconds on the robot's own clock.

    A driver copies ``boot``, ``session`` and ``last_sequence`` into its states.
    """

    def __init__(self, dof: int, grippers: int = 1):
        self.boot = secrets.randbits(53)
        self._dof, self._grippers = dof, grippers
        self._last: Target | None = None
        self._heard = 0.0

    def take(self, frame: bytes, now: float) -> Target | None:
        """The target to follow from now on, or None when it is not for this robot as it is now.

        That is: one of another loop beside the one that drives, one that is not newer than the last, one that was too
        long under way, and one for the robot that this was before it was started anew.

        Raises:
            ProtocolError: it is no target.
        """
        target = unpack_target(frame, self._dof, self._grippers)
        session = self.session(now)
        if target.boot != self.boot or abs(now - target.time) > TARGET_TIMEOUT:
            return None
        if session and target.session != session:
            return None
        last = self._last
        if last is not None and target.session == last.session and target.sequence <= last.sequence:
            return None
        self._last, self._heard = target, now
        return target

    def session(self, now: float) -> int:
        """The loop that drives the robot; 0: none, so the robot holds."""
        return 0 if self._last is None or now - self._heard > TARGET_TIMEOUT else self._last.session

    @property
    def last_sequence(self) -> int:
        """The number of the last target that was taken; 0 before the first."""
        return 0 if self._last is None else self._last.sequence
