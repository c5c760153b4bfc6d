"""``get_modality_config``: the policy's cameras, states, actions and instructions, as Isaac-GR00T's clients read it.

Nothing in the request tells which release asks. N1.6 and N1.7 look for different keys in the same map and both are
there; N1.5 wants that map as a JSON text, and names with their group in front, and has to be named to the server.
"""

import json
from typing import Any

from policy.interface import Policy
from policy.remote.names import Names

RELEASES = ("1.5", "1.6", "1.7")


def modality_config(policy: Policy, names: Names, release: str) -> dict[str, Any]:
    """One entry a group; ``release`` is one of ``RELEASES``."""
    groups = {
        "video": ([0], [names.camera(view) for view in policy.views]),
        "state": ([0], names.state_names),
        "action": (list(range(policy.action_horizon)), [name for name, _ in names.action]),
        "language": ([0], [names.task]),
    }
    return {group: _entry(group, steps, keys, release) for group, (steps, keys) in groups.items()}


def _entry(group: str, steps: list[int], keys: list[str], release: str) -> dict[str, Any]:
    if release == "1.5":
        flat = keys if group == "language" else [f"{group}.{key}" for key in keys]
        return {
            "__ModalityConfig_class__": True,
            "as_json": json.dumps({"delta_indices": steps, "modality_keys": flat}),
        }
    return {
        "__ModalityConfig_class__": True,
        "__ModalityConfig__": True,
        "as_json": {"delta_indices": steps, "modality_keys": keys},
    }
