"""Off-screen camera images from a MuJoCo model, upright, with the pixels that LIBERO's own environments give."""

import mujoco
import numpy as np

from demos.errors import UserError

VISUAL_GEOM_GROUP = 1
"""robosuite keeps collision shapes in group 0 and what cameras see in group 1."""


class RenderingUnavailable(UserError):
    """No OpenGL context can be made on this machine."""


class CameraRenderer:
    """Renders the named cameras of one model at one size.

    Each renderer owns a GL context and makes it current before every image: with several models in one process,
    MuJoCo would otherwise mix their textures without any error.

    Args:
        model: the compiled model.
        height, width: image size in pixels.
        multisampling: keep the model's own multisampling (LIBERO's look). Without it images cost about half and
            differ by about one grey level in the mean.

    Raises:
        RenderingUnavailable: no GL library is installed.
    """

    def __init__(self, model: mujoco.MjModel, height: int, width: int, multisampling: bool = True) -> None:
        self._model = model
        self._viewport = mujoco.MjrRect(0, 0, width, height)
        if not multisampling:
            model.vis.quality.offsamples = 0
        model.vis.global_.offwidth = max(model.vis.global_.offwidth, width)
        model.vis.global_.offheight = max(model.vis.global_.offheight, height)
        try:
            self._gl = mujoco.GLContext(width, height)
            self._gl.make_current()
            self._context = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_100)
        except Exception as error:
            raise RenderingUnavailable(
                f"cannot render off screen ({type(error).__name__}: {error}); install EGL or OSMesa, on Debian "
                "'apt-get install libegl1 libgl1-mesa-dri libosmesa6', and set MUJOCO_GL=egl or osmesa"
            ) from error
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._context)
        self._scene = mujoco.MjvScene(model, maxgeom=2000)
        self._options = mujoco.MjvOption()
        self._options.geomgroup[:] = 0
        self._options.geomgroup[VISUAL_GEOM_GROUP:3] = 1
        self._camera = mujoco.MjvCamera()
        self._camera.type = mujoco.mjtCamera.mjCAMERA_FIXED

    def render(self, data: mujoco.MjData, camera: str) -> np.ndarray:
        """The camera's image of the present state, ``(h, w, 3)`` uint8 RGB, upright.

        Kinematics in ``data`` must be up to date (``mj_forward`` or ``mj_kinematics`` has run).
        """
        self._gl.make_current()
        self._camera.fixedcamid = self._model.camera(camera).id
        mujoco.mjv_updateScene(
            self._model, data, self._options, None, self._camera, mujoco.mjtCatBit.mjCAT_ALL, self._scene
        )
        mujoco.mjr_render(self._viewport, self._scene, self._context)
        image = np.empty((self._viewport.height, self._viewport.width, 3), dtype=np.uint8)
        mujoco.mjr_readPixels(image, None, self._viewport, self._context)
        return image[::-1].copy()

    def close(self) -> None:
        """Free the GL context; the renderer cannot be used afterwards."""
        self._gl.make_current()
        self._context.free()
        self._gl.free()
