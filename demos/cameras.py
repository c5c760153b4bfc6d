"""Where a fixed camera of a demonstration stands, and the arm in front of it: read from the model that is kept with it.

The model is MJCF, which says all that is needed; MuJoCo is not, and neither are the meshes that the model names.
"""

from dataclasses import dataclass
from math import tan
from typing import Any
from xml.etree import ElementTree

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from common.errors import UserError
from demos.panda import panda_points

_FOVY = 45.0
"""Degrees, of a camera that does not say (MuJoCo's default)."""


@dataclass(frozen=True)
class Camera:
    """A pinhole camera: its ``position`` (3,) m, its ``axes`` (3, 3) as columns (right, up, back), and its vertical
    field of view in degrees."""

    position: np.ndarray
    axes: np.ndarray
    fovy: float

    def project(self, points: np.ndarray, width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
        """Points (..., 3) in metres -> (..., 2) x and y in pixels of an upright image, and whether they are in it."""
        right, up, back = np.moveaxis((points - self.position) @ self.axes, -1, 0)
        depth = np.maximum(-back, 1e-6)
        focal = height / 2 / tan(np.deg2rad(self.fovy) / 2)
        pixels = np.stack([width / 2 + focal * right / depth, height / 2 - focal * up / depth], -1)
        inside = (pixels >= 0).all(-1) & (pixels <= (width, height)).all(-1) & (back < 0)
        return pixels, inside


@dataclass(frozen=True)
class ArmView:
    """A camera, and the ``base`` (3,) m of the arm that it sees."""

    camera: Camera
    base: np.ndarray

    @classmethod
    def read(cls, attributes: dict[str, Any], camera: str, where: str) -> "ArmView":
        """From the attributes of a demonstration; ``where`` names it.

        Raises:
            UserError: there is no model, or neither camera nor arm in it.
        """
        model = attributes.get("model_file")
        try:
            root = ElementTree.fromstring(model.decode() if isinstance(model, bytes) else model or "")
        except ElementTree.ParseError:
            raise UserError(
                f"{where} keeps no readable model (attribute model_file), which says where the camera is"
            ) from None
        seen, base = root.find(f".//camera[@name='{camera}']"), root.find(".//body[@name='robot0_base']")
        if seen is None or base is None:
            missing = f"camera {camera}" if seen is None else "body robot0_base"
            raise UserError(f"{where}: the model has no {missing}; is it one of LIBERO's?")
        rotation = Rotation.from_quat(_numbers(seen, "quat", "1 0 0 0")[[1, 2, 3, 0]])
        fovy = float(seen.get("fovy", _FOVY))
        return cls(Camera(_numbers(seen, "pos", "0 0 0"), rotation.as_matrix(), fovy), _numbers(base, "pos", "0 0 0"))

    def arm(self, joints: np.ndarray, fingers: np.ndarray, width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
        """Joint angles (t, 7) rad and finger positions (t, 2) m -> ``demos.panda.ARM_POINTS`` (t, 10, 2) in pixels,
        and whether they are in the image (t, 10); whether something hides them is not known."""
        points = panda_points(torch.from_numpy(joints).double(), torch.from_numpy(fingers).double()).numpy()
        return self.camera.project(points + self.base, width, height)


def _numbers(element: ElementTree.Element, name: str, default: str) -> np.ndarray:
    return np.array([float(number) for number in element.get(name, default).split()])
