"""Point tracks of real video: every point is carried along by dense optical flow, from frame to frame.

The flow is that of dense inverse search (Kroeger et al., Fast Optical Flow using Dense Inverse Search, 2016), as OpenCV
has it: it needs no weights, and fills what has no texture from around it, where points followed one by one are lost.
A point counts as visible until the flow back does not return to it (Kalal et al., Forward-Backward Error, 2010), or it
leaves the image. Demonstrations from simulation have exact tracks instead (``python -m sim.collect``).
"""

import cv2
import numpy as np

from common.conventions import HORIZON
from demos.tracks import Tracks, query_pixels

SIDE = 256
"""Smaller images are enlarged to at least this (pixels): flow at 128 loses a third of what moves little."""
RETURN_ERROR = 1.0
"""How far from where it came from a visible point may return to (pixels)."""


def track(frames: np.ndarray, horizon: int = HORIZON) -> Tracks:
    """Images (T, h, w, 3) uint8 -> the paths of the grid's points from every frame on, as track files have them.

    After the last frame the scene stands still.
    """
    count, height, width = frames.shape[:3]
    start = query_pixels(height, width).astype(np.float32)
    points = np.empty((count, horizon, len(start), 2), np.float32)
    visible = np.ones(points.shape[:-1], np.float32)
    points[:, 0] = start
    zoom = max(1, round(SIDE / min(height, width)))
    images = [_grey(frame, zoom) for frame in frames]
    flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    rest = np.zeros((*images[0].shape, 2), np.float32)
    for frame in range(count - 1):
        starts = np.arange(max(0, frame - horizon + 2), frame + 1)
        steps = frame - starts
        here = points[starts, steps]
        there = here + _at(flow.calc(images[frame], images[frame + 1], rest.copy()), here, zoom)
        back = there + _at(flow.calc(images[frame + 1], images[frame], rest.copy()), there, zoom)
        seen = np.linalg.norm(back - here, axis=-1) < RETURN_ERROR
        seen &= ((there >= 0) & (there < (width, height))).all(-1)
        points[starts, steps + 1] = there
        visible[starts, steps + 1] = visible[starts, steps] * seen
    for last in range(min(horizon - 1, count)):  # frames from ``last`` to the end
        points[count - 1 - last, last + 1 :] = points[count - 1 - last, last]
        visible[count - 1 - last, last + 1 :] = visible[count - 1 - last, last]
    return Tracks(points, visible)


def _grey(frame: np.ndarray, zoom: int) -> np.ndarray:
    grey = cv2.cvtColor(np.ascontiguousarray(frame), cv2.COLOR_RGB2GRAY)
    return grey if zoom == 1 else cv2.resize(grey, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_CUBIC)


def _at(flow: np.ndarray, points: np.ndarray, zoom: int) -> np.ndarray:
    """Flow (zoom * h, zoom * w, 2) at points (..., 2) in (column, row) pixels of the image that was not enlarged."""
    places = (points.reshape(-1, 1, 2) * zoom - 0.5).astype(np.float32)  # OpenCV's first pixel has its centre at 0
    found = cv2.remap(flow, places[..., 0], places[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return found.reshape(points.shape) / zoom
