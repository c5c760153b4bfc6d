"""How a run of the control loop went, in numbers for a person."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass
class Report:
    """How a run went."""

    late: list[float] = field(default_factory=list)
    """Seconds that each tick came after its time."""
    skipped: int = 0
    """Ticks left out because the machine was busy for whole periods."""
    ages: list[float] = field(default_factory=list)
    """Seconds from the exposure of the images behind each action that was followed until it was sent to the robot."""
    requests: int = 0
    errors: int = 0
    interventions: dict[str, int] = field(default_factory=dict)
    events: list[tuple[float, str, str]] = field(default_factory=list)
    """Changes of mode: time, mode, reason."""
    jumps: list[float] = field(default_factory=list)
    """Where a chunk went over into the next: by how many degrees a tick that changed how far a joint was to move."""
    following: np.ndarray = field(default_factory=lambda: np.zeros(0))
    """How far (n,) rad each joint was at most from where it should have been by then."""
    arm_latency: float | None = None
    """Seconds after its control period that the arm got where it was told; None when it did not move."""

    def summary(self) -> dict[str, Any]:
        """Numbers for a person: milliseconds and counts."""
        late = np.array(self.late or [0.0]) * 1e3
        return {
            "ticks": len(self.late),
            "skipped": self.skipped,
            "late_ms_p50": round(float(np.percentile(late, 50)), 3),
            "late_ms_p99": round(float(np.percentile(late, 99)), 3),
            "late_ms_max": round(float(late.max()), 3),
            "late_over_10_ms": round(float((late > 10).mean()), 5),
            "age_ms_p50": _milliseconds(self.ages, 50),
            "age_ms_p99": _milliseconds(self.ages, 99),
            "age_ms_max": _milliseconds(self.ages, 100),
            "arm_latency_s": None if self.arm_latency is None else round(self.arm_latency, 3),
            "following_rad_max": self.following.round(3).tolist(),
            "joins": len(self.jumps),
            "jump_deg_max": round(max(self.jumps), 3) if self.jumps else None,
            "requests": self.requests,
            "errors": self.errors,
            "interventions": dict(self.interventions),
        }


def _milliseconds(seconds: list[float], percentile: float) -> float | None:
    return round(float(np.percentile(seconds, percentile)) * 1e3, 1) if seconds else None
