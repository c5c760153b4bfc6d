"""Guides the twin as a person guides a limp arm by hand, by typed lines; without one a calibration cannot be tried."""

from functools import cached_property
from typing import Protocol

import numpy as np

from common.errors import UserError
from robot_bridge.config import RobotConfig
from robot_bridge.kinematics import limbs_of
from robot_bridge.safety import Limb

HELP = "guide JOINT BY (rad) | guide home | guide hand X Y Z (m, base frame, the first arm's) | guide gripper OPENING"
NEAR = 0.005
"""m that the hand may be from where it was to go."""
ATTEMPTS = 20


class Guided(Protocol):
    """An arm that lets itself be led, joints (n,) rad in simulator order."""

    def joints(self) -> np.ndarray: ...

    def lead(self, q: np.ndarray, opening: float | None = None) -> None: ...


class Guide:
    """Leads ``arm``, which is the robot of ``config``; ``home`` (n,) rad is where ``guide home`` goes."""

    def __init__(self, config: RobotConfig, home: np.ndarray, arm: Guided):
        self._config, self._home, self._arm = config, home, arm

    @cached_property
    def _limb(self) -> Limb:
        return limbs_of(self._config)[0]

    def obey(self, line: str) -> None:
        """``joint1 0.4``, ``home``, ``hand 0.5 0.2 0.3`` or ``gripper 0``.

        Raises:
            UserError: it is none of these, or the hand cannot go there.
        """
        word, *rest = line.split() or [""]
        try:
            numbers = [float(text) for text in rest]
        except ValueError:
            raise UserError(f"{line!r} is no way to guide; there are: {HELP}") from None
        q = self._arm.joints()
        if word == "home" and not numbers:
            self._arm.lead(self._home)
        elif word in self._config.joints and len(numbers) == 1:
            self._arm.lead(q + numbers[0] * (np.array(self._config.joints) == word))
        elif word == "hand" and len(numbers) == 3:
            q[self._limb.joints] = self._reach(np.array(numbers), q[self._limb.joints])
            self._arm.lead(q)
        elif word == "gripper" and len(numbers) == 1:
            self._arm.lead(q, numbers[0])
        else:
            raise UserError(f"{line!r} is no way to guide; there are: {HELP}")

    def _reach(self, place: np.ndarray, q: np.ndarray) -> np.ndarray:
        """Joints (n,) rad that bring the hand to ``place``, turned as it is at ``q``."""
        body, safety, own = self._limb.body, self._config.safety, self._limb.joints
        _, facing = body.pose(q)
        for _ in range(ATTEMPTS):
            q = body.solve(place, facing, q, safety.lower[own], safety.upper[own])
        away = float(np.linalg.norm(body.pose(q)[0] - place))
        if away > NEAR:
            raise UserError(f"the hand cannot go to {place.tolist()}: it stays {away:.2f} m away")
        return q
