"""Who may ask: the token, and how little a stranger may cost before it has shown the token.

A server without a token knows no strangers: what protects it is that only this machine, or holders of keys, get here.
"""

import hmac
from collections import OrderedDict
from typing import Any

from policy.remote.wire import Limits
from robot_bridge.serving.replies import Refused

STRANGER_LIMITS = Limits(message_bytes=8 << 20, items=1024)
STRANGER_RATE = 20.0
"""Messages a second that are looked at, of one connection that has never shown the token."""
STRANGER_BURST = 20.0
REMEMBERED = 4096
"""Connections whose state is kept; beyond, the ones that were silent longest begin anew."""


class Admission:
    """Checks tokens, and remembers which connections have shown it. Belongs to one thread."""

    def __init__(self, token: str | None, limits: Limits):
        self._token = None if token is None else token.encode()
        self._limits = limits
        self._known: OrderedDict[bytes, None] = OrderedDict()
        self._allowances: OrderedDict[bytes, tuple[float, float]] = OrderedDict()

    def limits(self, peer: bytes, now: float) -> Limits | None:
        """What a message of ``peer`` may cost to read; None when it is not to be read at all."""
        if self._token is None or peer in self._known:
            return self._limits
        left, since = self._allowances.pop(peer, (STRANGER_BURST, now))
        left = min(STRANGER_BURST, left + (now - since) * STRANGER_RATE)
        _remember(self._allowances, peer, (max(0.0, left - 1.0), now))
        return STRANGER_LIMITS if left >= 1.0 else None

    def check(self, peer: bytes, token: Any) -> None:
        """Raises ``Refused`` unless ``token`` is the server's."""
        if self._token is None:
            return
        if not isinstance(token, str) or not hmac.compare_digest(token.encode(), self._token):
            raise Refused("unauthorized", "Unauthorized: Invalid API token")
        self._known.pop(peer, None)
        _remember(self._known, peer, None)


def _remember(table: OrderedDict, peer: bytes, value: Any) -> None:
    table[peer] = value
    if len(table) > REMEMBERED:
        table.popitem(last=False)
