"""How far an arm is behind its commands, measured from a run."""

import numpy as np

LONGEST = 0.5
"""Seconds; an arm that is later than this is not followed any more, it is lost."""
RESOLUTION = 0.005


def following_delay(times: np.ndarray, commanded: np.ndarray, measured: np.ndarray) -> float | None:
    """The delay (s) that brings commands (t, n) nearest to the measured joints (t, n), both rad, at ``times`` (t,) s.

    None when the arm moved by less than 0.05 rad, or not for at least a second: then there is nothing to see.
    """
    late = times >= times[0] + LONGEST if len(times) else np.zeros(0, bool)
    if len(times) == 0 or times[-1] - times[0] < 1.0 or np.ptp(commanded[late], axis=0).max() < 0.05:
        return None

    def error(delay: float) -> float:
        shifted = [np.interp(times[late] - delay, times, joint) for joint in commanded.T]
        return float(np.square(np.stack(shifted, axis=1) - measured[late]).sum())

    return float(min(np.arange(0, LONGEST, RESOLUTION), key=error))
