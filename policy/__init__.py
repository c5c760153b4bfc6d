"""AMPLIFY: images and an instruction become motion codes (forward dynamics), these become actions (inverse dynamics).

>>> from policy import load_policy  # doctest: +SKIP
>>> policy = load_policy("checkpoints/default.safetensors")  # doctest: +SKIP
>>> actions = policy.act(images, proprio, ["put the cup on the plate"])  # doctest: +SKIP
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from policy.interface import Policy
    from policy.load import load_policy
    from policy.runtimes.opening import load_runtime

__all__ = ["DEFAULT_BUNDLE", "Policy", "load_policy", "load_runtime"]

DEFAULT_BUNDLE = Path(__file__).parents[1] / "checkpoints" / "default.safetensors"
"""The policy that every command uses when none is named."""


def __getattr__(name: str) -> Any:
    # torch is only imported by those who load a policy
    if name == "load_policy":
        from policy.load import load_policy

        return load_policy
    if name == "load_runtime":
        from policy.runtimes.opening import load_runtime

        return load_runtime
    if name == "Policy":
        from policy.interface import Policy

        return Policy
    raise AttributeError(name)
