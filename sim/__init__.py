"""LIBERO in simulation: gymnasium environments, scripted experts, collection and evaluation.

Importing this package chooses MuJoCo's off-screen GL backend (EGL, unless ``MUJOCO_GL`` says otherwise), because
MuJoCo reads that variable when it is first imported. Nothing heavy is imported here.
"""

import os
import sys

if sys.platform.startswith("linux"):
    os.environ.setdefault("MUJOCO_GL", "egl")
