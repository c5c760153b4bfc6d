"""A policy behind a socket. It lives here, not in ``robot_bridge``, because a served policy is one more runtime of the
policy interface: evaluation opens it like a bundle, and packages import one way only (design.md section 1).

Needs numpy, pyzmq and msgpack; for ``openpi://`` websockets.
"""

from policy.remote.address import ADDRESSES, Client
from policy.remote.client import PolicyClient, RemotePolicyError
from policy.remote.opening import open_client
from policy.remote.policy import RemotePolicy

__all__ = ["ADDRESSES", "Client", "PolicyClient", "RemotePolicy", "RemotePolicyError", "open_client"]
