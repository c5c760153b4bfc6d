"""Where a policy is served, and in whose protocol: ``tcp://`` ours, ``groot://`` Isaac-GR00T's, ``openpi://`` openpi's.

What others call cameras, state, instruction and action stands behind a question mark, in the words of
``robot_bridge.serve --rename``: ``openpi://arm7:8000?agentview=observation/exterior_image_1_left&task=prompt``.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from common.errors import UserError
from policy.interface import Plan

SCHEMES = ("tcp", "ipc", "groot", "openpi")
ADDRESSES = tuple(f"{scheme}://" for scheme in SCHEMES)
"""How the address of a policy server begins."""


class Client(Protocol):
    """What ``robot_bridge.run`` and ``RemotePolicy`` ask, whatever the protocol. Belongs to one thread.

    Every method raises ``RemotePolicyError`` when there is no good answer within ``timeout`` seconds.
    """

    address: str
    timeout: float

    def describe(self) -> dict[str, Any]:
        """At least ``views``, ``image_size`` (h, w), ``action_horizon`` and ``policy``, a map.

        ``embodiment`` says what the numbers mean, where the server does (``common.embodiment``).
        """
        ...

    def ping(self) -> bool:
        """True when the server answers."""
        ...

    def get_action(
        self, observation: dict[str, Any], *, observed_at: float | None = None, plan: Plan | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Parts of the action, each (b, horizon, d), for an observation as docs/wire.md nests it; and ``info``.

        ``plan``, of the batch, is for a policy that inpaints; protocols that cannot say it leave it out.
        """
        ...

    def call(self, endpoint: str, data: dict[str, Any] | None = None) -> Any:
        """Another endpoint of the server."""
        ...

    def close(self) -> None:
        """Drops the connection; the next call would open a new one."""
        ...


@dataclass(frozen=True)
class Address:
    """``scheme://place?renames``; ``image_size`` (h, w) if it was given, None else."""

    scheme: str
    place: str
    renames: tuple[str, ...] = ()
    image_size: tuple[int, int] | None = None
    release: str | None = None

    @classmethod
    def read(cls, text: str) -> "Address":
        """Of a text.

        >>> Address.read("groot://gpu:5555?agentview=front&image_size=256x320&release=1.7")
        Address(scheme='groot', place='gpu:5555', renames=('agentview=front',), image_size=(256, 320), release='1.7')

        Raises:
            UserError: it is no address of a policy server.
        """
        scheme, separator, rest = text.partition("://")
        if not separator or scheme not in SCHEMES:
            raise UserError(f"{text!r} is no policy server; write {', '.join(ADDRESSES)} and HOST:PORT")
        place, _, query = rest.partition("?")
        if scheme in ("tcp", "ipc"):
            return cls(scheme, rest)
        settings = [setting for setting in query.split("&") if setting]
        renames = tuple(setting for setting in settings if not setting.startswith(("image_size=", "release=")))
        given = dict(setting.split("=", 1) for setting in settings if setting not in renames)
        size = _size(text, given["image_size"]) if "image_size" in given else None
        return cls(scheme, place, renames, size, given.get("release"))


def _size(address: str, text: str) -> tuple[int, int]:
    """``224`` or ``240x320``, height first."""
    sides = text.split("x")
    if len(sides) not in (1, 2) or not all(side.isdigit() and 8 <= int(side) <= 4096 for side in sides):
        raise UserError(f"{address}: image_size is one side or HEIGHTxWIDTH, 8 to 4096 pixels, not {text!r}")
    return int(sides[0]), int(sides[-1])
