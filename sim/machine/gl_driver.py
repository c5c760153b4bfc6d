"""Which OpenGL driver renders on this machine, found out by rendering a picture in a process of its own.

A process of its own, because drivers crash and hang, and because OpenGL does not survive the fork that may follow.
"""

import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass

from common.gl import RenderingUnavailable, prefer_off_screen

PATIENCE = 60.0
"""Seconds after which a driver that does not answer is given up (s)."""
IN_SOFTWARE = ("llvmpipe", "softpipe", "swrast", "software")
_SCENE = """
<mujoco>
  <worldbody>
    <light pos="0 -1 3"/>
    <geom type="sphere" size="0.5" group="1"/>
    <camera name="front" pos="0 -2 0" xyaxes="1 0 0 0 0 1"/>
  </worldbody>
</mujoco>
"""


@dataclass(frozen=True)
class Driver:
    """The GL backend that MuJoCo uses (``egl``, ``osmesa``, ...), and what the driver says of itself."""

    backend: str
    vendor: str
    renderer: str
    version: str

    @property
    def in_software(self) -> bool:
        """Whether the processor draws, not a GPU."""
        return any(name in self.renderer.lower() for name in IN_SOFTWARE)

    def __str__(self) -> str:
        return f"{self.backend}, {self.vendor} {self.renderer}"


def probe() -> Driver:
    """Render a small picture in another process.

    Raises:
        RenderingUnavailable: that failed; why, and how to mend it.
    """
    prefer_off_screen()
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    try:
        ended = subprocess.run(
            [sys.executable, "-m", "sim.machine.gl_driver"],
            env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise RenderingUnavailable.because(f"the driver has not answered for {PATIENCE:.0f} s") from None
    try:
        said = json.loads(ended.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        raise RenderingUnavailable.because(f"the driver ended the process with status {ended.returncode}") from None
    if "failed" in said:
        raise RenderingUnavailable(said["failed"])
    return Driver(**said)


def _render() -> Driver:
    try:
        import mujoco
    except AttributeError as error:  # PyOpenGL has None in place of a library that it did not find
        raise RenderingUnavailable.because("its library is not installed") from error
    from sim.libero.renderer import CameraRenderer

    model = mujoco.MjModel.from_xml_string(_SCENE)
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    renderer = CameraRenderer(model, 32, 32)
    picture = renderer.render(data, "front")
    if picture.min() == picture.max():
        raise RenderingUnavailable.because("the driver draws nothing")

    from OpenGL import GL

    vendor, name, version = (GL.glGetString(what).decode() for what in (GL.GL_VENDOR, GL.GL_RENDERER, GL.GL_VERSION))
    renderer.close()
    return Driver(os.environ["MUJOCO_GL"], vendor, name, version)


def _answer() -> dict[str, str]:
    """What the other process prints: the driver, or ``failed`` with the message for the user."""
    try:
        return asdict(_render())
    except RenderingUnavailable as error:
        return {"failed": str(error)}
    except Exception as error:
        return {"failed": str(RenderingUnavailable.because(f"{type(error).__name__}: {error}"))}


if __name__ == "__main__":
    prefer_off_screen()
    print(json.dumps(_answer()))
