"""Where the parts of a body are, from a motion: of a model in MJCF, or of the Panda that demonstrations are of."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from common.errors import UserError
from common.gl import prefer_off_screen
from demos.motion import Motion
from demos.panda import panda_hand_pose

PANDA = "panda"
"""In place of a model: the hand of the arm that demonstrations are of."""
Kinematics = Callable[[Motion], np.ndarray]
"""Points (t, k, 3) m of a motion, the last one the end effector where one was named."""


def forward_kinematics(model: str | Path, site: str | None = None) -> Kinematics:
    """The places of all bodies of a model, MJCF file or ``panda``; with ``site`` that site's after them.

    The model's hinges and slides are the motion's joints, in its order; its free joint, if it has one, is the root.

    Raises:
        UserError: it cannot be loaded, or lacks the site.
    """
    return _hand if str(model) == PANDA else MjcfKinematics(Path(model), site)


def _hand(motion: Motion) -> np.ndarray:
    if motion.joints.shape[1] != 7:
        raise UserError(f"{motion.source}: {motion.joints.shape[1]} joints, the Panda has 7")
    return panda_hand_pose(torch.from_numpy(motion.joints.astype(np.float64)))[:, None, :3].numpy()


class MjcfKinematics:
    """A ``Kinematics`` of an MJCF file; ``forward_kinematics`` says more."""

    def __init__(self, path: Path, site: str | None = None):
        prefer_off_screen()  # for those who also film
        import mujoco

        self._mujoco = mujoco
        try:
            self.model = mujoco.MjModel.from_xml_path(str(path))
        except ValueError as error:
            raise UserError(f"cannot load the model {path}: {' '.join(str(error).split())}") from None
        self._path, self._data = path, mujoco.MjData(self.model)
        kinds = self.model.jnt_type
        free = np.flatnonzero(kinds == mujoco.mjtJoint.mjJNT_FREE)
        self._root = int(self.model.jnt_qposadr[free[0]]) if len(free) else None
        single = (kinds == mujoco.mjtJoint.mjJNT_HINGE) | (kinds == mujoco.mjtJoint.mjJNT_SLIDE)
        self._joints = self.model.jnt_qposadr[single]
        self._site: int | None = None
        if site is not None:
            try:
                self._site = self.model.site(site).id
            except KeyError:
                names = ", ".join(self.model.site(number).name for number in range(self.model.nsite))
                raise UserError(f"the model {path} has no site {site!r}; it has {names or 'none'}") from None

    def place(self, motion: Motion, frame: int) -> Any:
        """The model's data (``mujoco.MjData``) with everything where it is in that frame."""
        if motion.joints.shape[1] != len(self._joints):
            raise UserError(
                f"{motion.source or motion.name}: {motion.joints.shape[1]} joints, {self._path} has {len(self._joints)}"
            )
        data = self._data
        data.qpos[self._joints] = motion.joints[frame]
        if self._root is not None:
            data.qpos[self._root : self._root + 3] = motion.root_pos[frame]
            data.qpos[self._root + 3 : self._root + 7] = motion.root_rot[frame][[3, 0, 1, 2]]
        self._mujoco.mj_kinematics(self.model, data)
        return data

    def __call__(self, motion: Motion) -> np.ndarray:
        points = []
        for frame in range(len(motion)):
            self.place(motion, frame)
            places = self._data.xpos[1:].copy()
            if self._site is not None:
                places = np.concatenate([places, self._data.site_xpos[self._site][None]])
            points.append(places)
        return np.array(points)
