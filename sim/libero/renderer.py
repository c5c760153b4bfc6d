"""Off-screen camera images from a MuJoCo model, upright, with the pixels that LIBERO's own environments give."""

import atexit
import copy
import os
import weakref

import mujoco
import numpy as np

from common.gl import RenderingUnavailable
from sim.libero.mesh_simplification import simplify_meshes

VISUAL_GEOM_GROUP = 1
"""robosuite keeps collision shapes in group 0 and what cameras see in group 1."""

_HIDDEN_GEOM_GROUP = 5


_made_by: int | None = None
"""The process that has made a renderer. OpenGL does not survive a fork."""


class CameraRenderer:
    """Renders the named cameras of one model at one size.

    Each renderer owns a GL context and makes it current before every image: with several models in one process,
    MuJoCo would otherwise mix their textures without any error.

    Args:
        model: the compiled model.
        height, width: image size in pixels.
        detail: 0 for LIBERO's own look. Otherwise images are drawn without multisampling and from meshes whose
            details are no smaller than this (m), which is several times faster in software; near the size of a
            pixel the result differs by two or three grey levels in the mean, along edges.

    Raises:
        RenderingUnavailable: no GL library is installed, or this process was forked from one that had rendered,
            where OpenGL would wait for ever.
    """

    def __init__(self, model: mujoco.MjModel, height: int, width: int, detail: float = 0.0) -> None:
        global _made_by
        if _made_by not in (None, os.getpid()):
            raise RenderingUnavailable(
                "this process was forked from one that had already rendered, and OpenGL does not survive that; start "
                'it afresh instead: gymnasium.vector.AsyncVectorEnv(..., context="spawn"), or '
                'multiprocessing.get_context("spawn")'
            )
        _made_by = os.getpid()
        self._model = model
        self._viewport = mujoco.MjrRect(0, 0, width, height)
        drawn = simplify_meshes(model, detail) if detail else copy.copy(model)
        if detail:
            drawn.vis.quality.offsamples = 0
        drawn.vis.global_.offwidth = max(drawn.vis.global_.offwidth, width)
        drawn.vis.global_.offheight = max(drawn.vis.global_.offheight, height)
        try:
            self._gl = _context_class()(width, height)
            self._gl.make_current()
            self._context = mujoco.MjrContext(drawn, mujoco.mjtFontScale.mjFONTSCALE_100)
        except Exception as error:
            raise RenderingUnavailable.because(f"{type(error).__name__}: {error}") from error
        # At exit the context must go before MuJoCo takes EGL down, so in atexit's order and not in weakref's own.
        self._free = weakref.finalize(self, _free, self._gl, self._context)
        self._free.atexit = False
        atexit.register(self._free)
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
        self._draw(data, camera)
        image = np.empty((self._viewport.height, self._viewport.width, 3), dtype=np.uint8)
        mujoco.mjr_readPixels(image, None, self._viewport, self._context)
        return image[::-1].copy()

    def render_with_depth(self, data: mujoco.MjData, camera: str) -> tuple[np.ndarray, np.ndarray]:
        """``render``, and the distance of each pixel along the viewing axis, ``(h, w)`` float32 in metres, upright."""
        self._draw(data, camera)
        image = np.empty((self._viewport.height, self._viewport.width, 3), dtype=np.uint8)
        buffer = np.empty(image.shape[:2], dtype=np.float32)
        mujoco.mjr_readPixels(image, buffer, self._viewport, self._context)
        near = self._model.vis.map.znear * self._model.stat.extent
        far = self._model.vis.map.zfar * self._model.stat.extent
        depth = near / (1.0 - buffer * (1.0 - near / far))
        return image[::-1].copy(), depth[::-1].copy()

    def _draw(self, data: mujoco.MjData, camera: str) -> None:
        self._gl.make_current()
        self._camera.fixedcamid = self._model.camera(camera).id
        groups = self._model.geom_group.copy()
        self._model.geom_group[self._out_of_sight(data, self._camera.fixedcamid)] = _HIDDEN_GEOM_GROUP
        mujoco.mjv_updateScene(
            self._model, data, self._options, None, self._camera, mujoco.mjtCatBit.mjCAT_ALL, self._scene
        )
        self._model.geom_group[:] = groups
        mujoco.mjr_render(self._viewport, self._scene, self._context)

    def _out_of_sight(self, data: mujoco.MjData, camera: int) -> np.ndarray:
        """Which shapes the camera cannot see, ``(ngeom,)``: drawing them would cost time and change no pixel.

        A shape is out of sight when its bounding sphere lies outside the camera's view cone. Mirrors show what is
        beside the camera, so with one in sight nothing is left out.
        """
        model = self._model
        if (model.light_castshadow & model.light_active).any():
            return np.zeros(model.ngeom, dtype=bool)
        local = (data.geom_xpos - data.cam_xpos[camera]) @ data.cam_xmat[camera].reshape(3, 3)
        half_angle = np.deg2rad(model.cam_fovy[camera]) / 2
        aspect = self._viewport.width / self._viewport.height
        outside = local[:, 2] > model.geom_rbound
        for axis, angle in ((0, np.arctan(np.tan(half_angle) * aspect)), (1, half_angle)):
            beyond = np.abs(local[:, axis]) * np.cos(angle) + local[:, 2] * np.sin(angle)
            outside |= beyond > model.geom_rbound
        outside &= model.geom_rbound > 0  # planes have no bounding sphere
        # MuJoCo mirrors in flat shapes only, whatever the material of others says.
        flat = np.isin(model.geom_type, (mujoco.mjtGeom.mjGEOM_PLANE, mujoco.mjtGeom.mjGEOM_BOX))
        mirrors = flat & (model.geom_matid >= 0) & (model.mat_reflectance[model.geom_matid] > 0)
        return outside if not (mirrors & ~outside).any() else np.zeros(model.ngeom, dtype=bool)

    def close(self) -> None:
        """Free the GL context; the renderer cannot be used afterwards."""
        self._free()
        atexit.unregister(self._free)


def _free(gl: mujoco.GLContext, context: mujoco.MjrContext) -> None:
    gl.make_current()
    context.free()
    gl.free()


def _context_class() -> type:
    """The GL context of the backend that ``MUJOCO_GL`` names now.

    ``mujoco.GLContext`` was chosen when MuJoCo was first imported, which may have been before this package's default
    was set.
    """
    backend = os.environ.get("MUJOCO_GL", "").lower()
    if backend == "egl":
        from mujoco.egl import GLContext
    elif backend == "osmesa":
        from mujoco.osmesa import GLContext
    else:
        from mujoco import GLContext
    return GLContext
