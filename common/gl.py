"""Which OpenGL MuJoCo renders with. MuJoCo reads the choice when it is first imported, so it must be made before."""

import os
import sys

from common.errors import UserError


class RenderingUnavailable(UserError):
    """No OpenGL context can be made on this machine, or in this process."""

    @classmethod
    def because(cls, reason: str) -> "RenderingUnavailable":
        """The error for a machine without a working GL library."""
        backend, reason = os.environ.get("MUJOCO_GL", ""), " ".join(reason.split())
        return cls(
            f"cannot render off screen with MUJOCO_GL={backend} ({reason}); install EGL or OSMesa, on Debian "
            "'apt-get install libegl1 libgl1-mesa-dri libosmesa6', and set MUJOCO_GL=egl or osmesa"
        )


def prefer_off_screen() -> None:
    """EGL, which needs no display, unless ``MUJOCO_GL`` names another backend."""
    if sys.platform.startswith("linux"):
        os.environ.setdefault("MUJOCO_GL", "egl")
