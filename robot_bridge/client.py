"""The robot's side of the wire: ``PolicyClient(address).get_action(observation)``; numpy, pyzmq and msgpack only.

The client itself lives in ``policy.remote``, where evaluation may use it too.
"""

from policy.remote.client import PolicyClient, RemotePolicyError

__all__ = ["PolicyClient", "RemotePolicyError"]
