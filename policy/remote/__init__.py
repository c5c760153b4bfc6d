"""A policy behind a socket. It lives here, not in ``robot_bridge``, because a served policy is one more runtime of the
policy interface: evaluation opens it like a bundle, and packages import one way only (design.md section 1).

Needs numpy, pyzmq and msgpack, nothing else.
"""

from policy.remote.client import PolicyClient, RemotePolicyError
from policy.remote.policy import RemotePolicy

__all__ = ["PolicyClient", "RemotePolicy", "RemotePolicyError"]
