"""Exact point tracks from simulation: no tracker, no drift, true visibility.

A ray through each query pixel finds the visible surface point and the body it belongs to. The point is carried along
by that body's pose over the horizon and projected back into the camera; it is visible where the rendered depth at its
pixel is its own. Pixel coordinates are continuous, with (0, 0) the upper left corner of the image, so that the first
pixel's centre is (0.5, 0.5).
"""

from dataclasses import dataclass

import mujoco
import numpy as np

from common.conventions import HORIZON
from demos.tracks import Tracks, query_pixels

_VISIBLE_GROUPS = np.array([0, 1, 1, 0, 0, 0], dtype=np.uint8)
_FAR = 20.0
"""Where a ray that hits nothing puts its point (m)."""
_DEPTH_TOLERANCE = 0.01
"""Depth differences (m) up to which a point counts as seen; more where the surface is steep."""


@dataclass(frozen=True)
class _Frame:
    """What one view needs of one moment: camera pose, all body poses, the depth image, and the lifted query points."""

    camera_position: np.ndarray
    camera_rotation: np.ndarray
    body_positions: np.ndarray
    body_rotations: np.ndarray
    depth: np.ndarray
    bodies: np.ndarray
    local_points: np.ndarray


class TrackRecorder:
    """Collects the frames of one episode for one camera, then computes all tracks at once.

    Args:
        model: the compiled model.
        camera: name of the camera.
        height, width: image size in pixels.
    """

    def __init__(self, model: mujoco.MjModel, camera: str, height: int, width: int) -> None:
        self._model = model
        self._camera = model.camera(camera).id
        self._size = np.array([width, height], dtype=float)
        self._focal = height / 2 / np.tan(np.deg2rad(model.cam_fovy[self._camera]) / 2)
        offset = (query_pixels(height, width) - self._size / 2) / self._focal
        self._rays = np.column_stack([offset[:, 0], -offset[:, 1], -np.ones(len(offset))])
        self._rays /= np.linalg.norm(self._rays, axis=1, keepdims=True)
        self._frames: list[_Frame] = []

    def add(self, data: mujoco.MjData, depth: np.ndarray) -> None:
        """Record the present state. ``depth`` is the camera's depth image ``(h, w)`` in metres, upright."""
        position = data.cam_xpos[self._camera].copy()
        rotation = data.cam_xmat[self._camera].reshape(3, 3).copy()
        rays = self._rays @ rotation.T
        # Not mj_multiRay: it overlooks shapes around the wrist camera.
        geoms, geom = np.empty(len(rays), dtype=np.int32), np.empty(1, dtype=np.int32)
        distances = np.empty(len(rays))
        for i, ray in enumerate(rays):
            distances[i] = mujoco.mj_ray(self._model, data, position, ray, _VISIBLE_GROUPS, 1, -1, geom)
            geoms[i] = geom[0]
        hit = geoms >= 0
        bodies = np.where(hit, self._model.geom_bodyid[geoms], 0)
        points = position + rays * np.where(hit, distances, _FAR)[:, None]
        body_positions, body_rotations = data.xpos.copy(), data.xmat.reshape(-1, 3, 3).copy()
        local = np.einsum("nji,nj->ni", body_rotations[bodies], points - body_positions[bodies])
        self._frames.append(_Frame(position, rotation, body_positions, body_rotations, depth, bodies, local))

    def tracks(self, horizon: int = HORIZON) -> Tracks:
        """Tracks that start at every frame; after the last frame the scene stands still.

        Returns:
            Points ``(T, horizon, n, 2)`` in (column, row) pixels and visibility ``(T, horizon, n)``, float32.
        """
        count = len(self._frames)
        points = np.empty((count, horizon, len(self._rays), 2), dtype=np.float32)
        visible = np.empty(points.shape[:-1], dtype=np.float32)
        stacked = {
            name: np.stack([getattr(frame, name) for frame in self._frames])
            for name in ("camera_position", "camera_rotation", "body_positions", "body_rotations", "depth")
        }
        for start, frame in enumerate(self._frames):
            times = np.minimum(np.arange(start, start + horizon), count - 1)
            rotations = stacked["body_rotations"][times[:, None], frame.bodies]
            world = np.einsum("tnij,nj->tni", rotations, frame.local_points)
            world += stacked["body_positions"][times[:, None], frame.bodies]
            seen = world - stacked["camera_position"][times, None]
            in_camera = np.einsum("tji,tnj->tni", stacked["camera_rotation"][times], seen)
            points[start], visible[start] = self._project(in_camera, stacked["depth"], times)
        return Tracks(points, visible)

    def _project(self, in_camera: np.ndarray, depth: np.ndarray, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        distance = -in_camera[..., 2]
        ahead = distance > 1e-3
        safe = np.where(ahead, distance, 1.0)
        pixels = np.stack([in_camera[..., 0], -in_camera[..., 1]], axis=-1) / safe[..., None] * self._focal
        pixels += self._size / 2
        inside = ahead & ((pixels >= 0) & (pixels < self._size)).all(axis=-1)
        index = np.where(inside[..., None], pixels, 0).astype(int)
        surface = depth[times[:, None], index[..., 1], index[..., 0]]
        tolerance = _DEPTH_TOLERANCE + 2.0 * distance / self._focal
        return pixels, inside & (distance <= surface + tolerance)
