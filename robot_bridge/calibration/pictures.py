"""Pictures of the twin's arm for a person to compare with: its joints' positive directions, and its workspace box."""

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import mujoco
import numpy as np
from PIL import Image, ImageDraw

from common.files import replacing
from common.gl import RenderingUnavailable
from robot_bridge.config import Box, RobotConfig
from robot_bridge.twin_robot import twin_of

TILE, SIDE = 320, 640
"""Pixels of a joint's picture, and of one side of the box's."""
FORWARDS = 0.5
"""rad by which a joint is shown forwards."""
COLUMNS = 4
OBLIQUE, FROM_ITS_LEFT, FROM_THE_FRONT = (140.0, -20.0), (-90.0, -10.0), (180.0, -10.0)
"""Azimuth and elevation (degrees) of the camera; the base looks along x."""
AWAY = 1.5
"""Times the size of what is shown that the camera is away from it; its view is 45 degrees wide."""
BLUE, SAND = np.array([0.2, 0.5, 1.0, 0.3], np.float32), np.array([0.8, 0.6, 0.3, 0.4], np.float32)


class Studio:
    """The twin's arm alone under a light, as a context manager.

    Raises:
        RenderingUnavailable: no OpenGL context can be made.
    """

    def __init__(self, config: RobotConfig):
        self._config = config
        spec = twin_of(config).spec()
        gradient, sky = mujoco.mjtBuiltin.mjBUILTIN_GRADIENT, mujoco.mjtTexture.mjTEXTURE_SKYBOX
        if all(texture.type != sky for texture in spec.textures):
            spec.add_texture(
                name="studio_sky", type=sky, builtin=gradient, rgb1=[1, 1, 1], rgb2=[0.8, 0.8, 0.8], width=64, height=64
            )
        spec.worldbody.add_light(pos=[2, -2, 4], dir=[-0.4, 0.4, -1], diffuse=[0.7, 0.7, 0.7], castshadow=False)
        spec.visual.headlight.ambient, spec.visual.headlight.diffuse = [0.4, 0.4, 0.4], [0.4, 0.4, 0.4]
        spec.visual.global_.offwidth = spec.visual.global_.offheight = SIDE
        self._model = spec.compile()
        self._joints = [int(self._model.joint(name).qposadr[0]) for name in config.joints]
        self._bases = [self._model.body(arm.base).id if arm.base is not None else 0 for arm in config.arms]
        self._look = mujoco.MjvOption()
        self._look.geomgroup[0] = 0  # collision shapes
        self._look.sitegroup[:] = 0
        try:
            self._renderers = {side: mujoco.Renderer(self._model, side, side) for side in (TILE, SIDE)}
        except Exception as error:  # whatever the GL library at hand raises
            raise RenderingUnavailable.because(str(error)) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for renderer in self._renderers.values():
            renderer.close()

    def draw_joints(self, pose: np.ndarray, file: Path) -> None:
        """The arm at ``pose`` (n,) rad, once for each joint, in blue where that joint is half a radian forwards."""
        tiles = [self._joint(pose, joint) for joint in range(len(pose))]
        rows = -(-len(tiles) // COLUMNS)
        sheet = Image.new("RGB", (TILE * min(COLUMNS, len(tiles)), TILE * rows), "white")
        for number, tile in enumerate(tiles):
            sheet.paste(tile, (TILE * (number % COLUMNS), TILE * (number // COLUMNS)))
        _save(sheet, file)

    def draw_boxes(self, q: np.ndarray, boxes: Sequence[Box], file: Path) -> None:
        """The arms at ``q`` (n,) rad in their ``boxes`` (blue, floors in sand), from the left and from the front."""
        data = self._at(q)
        corners = [
            data.xpos[base] + np.stack([box.lower, box.upper]) @ data.xmat[base].reshape(3, 3).T
            for base, box in zip(self._bases, boxes, strict=True)
        ]
        sheet = Image.new("RGB", (2 * SIDE, SIDE), "white")
        for number, (view, name) in enumerate(((FROM_ITS_LEFT, "from its left"), (FROM_THE_FRONT, "from the front"))):
            renderer = self._renderers[SIDE]
            renderer.update_scene(data, self._camera(view, np.concatenate([self._bones(data), *corners])), self._look)
            for base, box in zip(self._bases, boxes, strict=True):
                self._add_box(
                    renderer.scene, data, base, (box.lower + box.upper) / 2, (box.upper - box.lower) / 2, BLUE
                )
                floor = np.array([*((box.lower + box.upper) / 2)[:2], box.floor])
                plate = np.array([*((box.upper - box.lower) / 2)[:2] + 0.1, 0.001])
                self._add_box(renderer.scene, data, base, floor, plate, SAND)
            sheet.paste(_named(renderer.render(), name), (SIDE * number, 0))
        _save(sheet, file)

    def _joint(self, pose: np.ndarray, joint: int) -> Image.Image:
        renderer = self._renderers[TILE]
        data = self._at(pose)
        renderer.update_scene(data, self._camera(OBLIQUE, self._bones(data)), self._look)
        scene, count = renderer.scene, renderer.scene.ngeom
        moved = self._at(pose + np.eye(len(pose))[joint] * FORWARDS)
        everything = mujoco.mjtCatBit.mjCAT_DYNAMIC.value
        mujoco.mjv_addGeoms(self._model, moved, self._look, mujoco.MjvPerturb(), everything, scene)
        stays = {geom.objid: np.concatenate([geom.pos, geom.mat.ravel()]) for geom in scene.geoms[:count]}
        for geom in scene.geoms[count : scene.ngeom]:
            geom.rgba[:], geom.matid, geom.transparent = BLUE, -1, 1
            geom.rgba[3] *= not np.allclose(np.concatenate([geom.pos, geom.mat.ravel()]), stays[geom.objid])
        return _named(renderer.render(), f"{self._config.joints[joint]} forwards")

    def _at(self, q: np.ndarray) -> mujoco.MjData:
        data = mujoco.MjData(self._model)
        data.qpos[self._joints] = q
        mujoco.mj_forward(self._model, data)
        return data

    def _bones(self, data: mujoco.MjData) -> np.ndarray:
        """Points (m, 3) m all over the arms: middles of their joints and their ends."""
        joints = [self._model.joint(name).id for name in self._config.joints]
        ends = [self._model.site(arm.site).id for arm in self._config.arms]
        return np.concatenate([data.xanchor[joints], data.site_xpos[ends], data.xpos[self._bases]])

    def _camera(self, view: tuple[float, float], points: np.ndarray) -> mujoco.MjvCamera:
        """One that sees all ``points`` (m, 3) m."""
        camera = mujoco.MjvCamera()
        lower, upper = points.min(axis=0), points.max(axis=0)
        camera.lookat = (lower + upper) / 2
        camera.distance = AWAY * float(np.linalg.norm(upper - lower))
        camera.azimuth, camera.elevation = view
        return camera

    @staticmethod
    def _add_box(
        scene: mujoco.MjvScene, data: mujoco.MjData, base: int, middle: np.ndarray, half: np.ndarray, rgba: np.ndarray
    ) -> None:
        """A box (m) in the frame of a body."""
        facing = data.xmat[base].reshape(3, 3)
        place = data.xpos[base] + facing @ middle
        geom = scene.geoms[scene.ngeom]
        mujoco.mjv_initGeom(geom, mujoco.mjtGeom.mjGEOM_BOX, half, place, facing.ravel(), rgba)
        scene.ngeom += 1


def _named(pixels: np.ndarray, name: str) -> Image.Image:
    picture = Image.fromarray(pixels)
    ImageDraw.Draw(picture).text((8, 8), name, fill="black")
    return picture


def _save(picture: Image.Image, file: Path) -> None:
    with replacing(file) as temporary:
        picture.save(temporary, "PNG")
