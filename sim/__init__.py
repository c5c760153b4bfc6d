"""LIBERO in simulation: gymnasium environments, scripted experts, collection and evaluation.

Importing this package chooses MuJoCo's off-screen GL backend (see ``common.gl``). Nothing heavy is imported here.
"""

from typing import TYPE_CHECKING, Any

from common.gl import prefer_off_screen

if TYPE_CHECKING:
    from sim.libero.env import LiberoEnv

__all__ = ["LiberoEnv"]

prefer_off_screen()


def __getattr__(name: str) -> Any:
    # MuJoCo, robosuite and LIBERO are only imported by those who make an environment
    if name == "LiberoEnv":
        from sim.libero.env import LiberoEnv

        return LiberoEnv
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
