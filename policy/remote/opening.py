"""A client for whatever stands at an address: our servers, Isaac-GR00T's, openpi's."""

from typing import Any

from common.errors import UserError
from policy.remote.address import Address, Client
from policy.remote.client import PolicyClient
from policy.remote.groot import GrootClient
from policy.remote.openpi import OpenpiClient


def open_client(address: str, **options: Any) -> Client:
    """The client for ``tcp://``, ``ipc://``, ``groot://`` or ``openpi://``; connects with its first call.

    ``options`` are those of ``PolicyClient``; None means not given.

    Raises:
        UserError: it is no such address, or the protocol has not what an option asks for.
    """
    scheme = Address.read(address).scheme
    given = {name: value for name, value in options.items() if value is not None}
    if scheme in ("tcp", "ipc"):
        return PolicyClient(address, **given)
    allowed = {"timeout", "token"} | ({"keys", "server_key"} if scheme == "groot" else set())
    if extra := sorted(set(given) - allowed):
        raise UserError(f"{scheme}:// has no {', '.join(extra)}; leave it out, or serve by tcp://")
    return GrootClient(address, **given) if scheme == "groot" else OpenpiClient(address, **given)
