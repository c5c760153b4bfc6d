"""Which targets a driver takes: the rules of docs/robot_protocol.md, for drivers written in Python."""

from robot_bridge.drivers.protocol import Target, unpack_target

TARGET_TIMEOUT = 0.25
"""Seconds without a target after which a robot holds, and after which another loop may take over."""


class Reception:
    """Looks at every message that comes for a robot with ``dof`` joints. Times are seconds on the robot's own clock."""

    def __init__(self, dof: int):
        self._dof = dof
        self._last: Target | None = None
        self._heard = 0.0

    def take(self, frame: bytes, now: float) -> Target | None:
        """The target to follow from now on, or None when it is of another loop, or not newer than the last.

        Raises:
            ProtocolError: it is no target.
        """
        target = unpack_target(frame, self._dof)
        last = self._last
        if last is not None and target.session != last.session and not self.alone(now):
            return None
        if last is not None and target.session == last.session and target.sequence <= last.sequence:
            return None
        self._last, self._heard = target, now
        return target

    def alone(self, now: float) -> bool:
        """Whether no loop drives the robot: it holds, and waits for targets."""
        return self._last is None or now - self._heard > TARGET_TIMEOUT
