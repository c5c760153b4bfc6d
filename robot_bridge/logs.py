"""Structured logs: one JSON object a line on stderr, with the fields a call passes as ``extra=fields(...)``."""

import json
import logging
import sys
import time
from typing import Any


def fields(**values: Any) -> dict[str, Any]:
    """What to pass as ``extra``: fields that appear beside the message."""
    return {"fields": values}


class JsonFormatter(logging.Formatter):
    """``{"time": ..., "level": ..., "event": ..., <fields>}``"""

    def format(self, record: logging.LogRecord) -> str:
        """One line of JSON."""
        line = {"time": round(record.created, 3), "level": record.levelname.lower(), "event": record.getMessage()}
        line |= getattr(record, "fields", {})
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


class AtMost(logging.Filter):
    """Lets ``count`` warnings a second through, so that a noisy client cannot fill the disk."""

    def __init__(self, count: int = 10):
        super().__init__()
        self._count, self._second, self._seen = count, 0, 0

    def filter(self, record: logging.LogRecord) -> bool:
        """False for the records beyond the rate."""
        if record.levelno != logging.WARNING:
            return True
        second = int(time.monotonic())
        if second != self._second:
            self._second, self._seen = second, 0
        self._seen += 1
        return self._seen <= self._count


def configure(level: str = "info") -> None:
    """Sends the package's logs to stderr as JSON lines."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    handler.addFilter(AtMost())
    logger = logging.getLogger("robot_bridge")
    logger.handlers[:] = [handler]
    logger.setLevel(level.upper())
    logger.propagate = False
