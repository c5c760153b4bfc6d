"""Another machine's steady clock, seen through the messages that carry its time."""

DRIFT = 2e-4
"""Seconds a second by which two clocks may run apart; good crystals are ten times better."""


class RemoteClock:
    """Learns from the quickest message how the two clocks stand, and so how late each of the others came.

    Only delay beyond that of the quickest can be seen. Times are seconds, ``here`` monotonic on this machine.
    """

    def __init__(self) -> None:
        self._offset: float | None = None  # here less there, less than any message showed so far
        self._since = 0.0

    def delay(self, there: float, here: float) -> float:
        """How late a message came ``here`` that was sent at ``there``."""
        offset = here - there
        if self._offset is None:
            self._offset, self._since = offset, here
        self._offset = min(offset, self._offset + DRIFT * max(0.0, here - self._since))
        self._since = max(self._since, here)
        return offset - self._offset

    def there(self, here: float) -> float:
        """What the other clock says now, or said as long ago as the quickest message takes."""
        assert self._offset is not None, "no message yet"
        return here - self._offset
