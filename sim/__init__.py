"""LIBERO in simulation: gymnasium environments, scripted experts, collection and evaluation.

Importing this package registers every task with gymnasium: ``gymnasium.make("amplify/libero_10-0-v0")``. Nothing heavy
is imported here.
"""

from typing import TYPE_CHECKING, Any

from sim.suites import register_environments

if TYPE_CHECKING:
    from sim.libero.env import LiberoEnv

__all__ = ["LiberoEnv"]

register_environments()


def __getattr__(name: str) -> Any:
    # MuJoCo, robosuite and LIBERO are only imported by those who make an environment
    if name == "LiberoEnv":
        from sim.libero.env import LiberoEnv

        return LiberoEnv
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
