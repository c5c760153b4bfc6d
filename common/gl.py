"""Which OpenGL MuJoCo renders with. MuJoCo reads the choice when it is first imported, so it must be made before."""

import os
import sys


def prefer_off_screen() -> None:
    """EGL, which needs no display, unless ``MUJOCO_GL`` names another backend."""
    if sys.platform.startswith("linux"):
        os.environ.setdefault("MUJOCO_GL", "egl")
