"""Counters and histograms in Prometheus' text format."""

import threading
from bisect import bisect_left
from collections.abc import Callable, Sequence

SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
ROWS = (1, 2, 4, 8, 16, 32, 64)


class Histogram:
    """Counts observations in buckets with fixed upper bounds."""

    def __init__(self, name: str, help_text: str, bounds: Sequence[float]):
        self.name, self.help_text, self.bounds = name, help_text, bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        """Adds one observation."""
        self._counts[bisect_left(self.bounds, value)] += 1
        self._sum += value

    def lines(self) -> list[str]:
        """Prometheus text lines."""
        lines = [f"# HELP {self.name} {self.help_text}", f"# TYPE {self.name} histogram"]
        total = 0
        for bound, count in zip((*self.bounds, "+Inf"), self._counts, strict=True):
            total += count
            lines.append(f'{self.name}_bucket{{le="{bound}"}} {total}')
        return [*lines, f"{self.name}_sum {self._sum:.9g}", f"{self.name}_count {total}"]


class ServerMetrics:
    """What the policy server counts. ``outcome`` is ``ok`` or one of the wire's error codes, so labels stay few."""

    def __init__(self) -> None:
        self.ready = False
        self._requests: dict[tuple[str, str], int] = {}
        self._counting = threading.Lock()
        self.request_seconds = Histogram("policy_request_seconds", "From receipt of a request to its reply.", SECONDS)
        self.infer_seconds = Histogram("policy_infer_seconds", "Duration of one call of the policy.", SECONDS)
        self.batch_rows = Histogram("policy_batch_rows", "Observations in one call of the policy.", ROWS)
        self.waiting: Callable[[], int] = lambda: 0
        self.connections: Callable[[], int] = lambda: 0
        self.lost: Callable[[], int] = lambda: 0

    def count(self, endpoint: str, outcome: str) -> None:
        """One answered request."""
        key = (endpoint, outcome)
        with self._counting:
            self._requests[key] = self._requests.get(key, 0) + 1

    def requests(self, endpoint: str, outcome: str) -> int:
        """How many requests to ``endpoint`` ended with ``outcome``."""
        return self._requests.get((endpoint, outcome), 0)

    def text(self) -> str:
        """The exposition, ready to serve."""
        lines = ["# HELP policy_requests_total Answered requests.", "# TYPE policy_requests_total counter"]
        for (endpoint, outcome), count in sorted(self._requests.copy().items()):
            lines.append(f'policy_requests_total{{endpoint="{endpoint}",outcome="{outcome}"}} {count}')
        for name, kind, help_text, value in (
            ("policy_replies_lost_total", "counter", "Replies to clients that are gone or never read.", self.lost()),
            ("policy_waiting_requests", "gauge", "Requests that wait for the policy.", self.waiting()),
            ("policy_connections", "gauge", "Open connections.", self.connections()),
            ("policy_ready", "gauge", "1 once the policy is warm and requests are served.", int(self.ready)),
        ):
            lines += [f"# HELP {name} {help_text}", f"# TYPE {name} {kind}", f"{name} {value}"]
        for histogram in (self.request_seconds, self.infer_seconds, self.batch_rows):
            lines += histogram.lines()
        return "\n".join(lines) + "\n"
