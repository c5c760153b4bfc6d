"""Moving the arm: servoing, straight moves and the gripper, as generators of ordinary 7-number LIBERO actions.

Every motion is a generator that yields one action per control step and reads the true state after it, so motions
compose with ``yield from`` and whoever runs them decides what is executed, rendered or recorded.
"""

from collections.abc import Generator

import numpy as np

from demos.phases import WAIT
from sim.experts.geometry import DOWN, SIDEWAYS, UP, gripper_frame, rotation_vector
from sim.experts.world import World

Motion = Generator[np.ndarray, None, None]

OPEN, CLOSED = -1.0, 1.0
TRANSLATION_GAIN = 15.0
"""Action per metre of position error: three quarters of the way per step, as 1 is 0.05 m."""
MAX_ACTION_CHANGE = 0.3
"""Largest change of an arm action from one step to the next; keeps motions smooth."""
LEVEL = 0.4
"""A hand that leans by less than this (rad) is taken to be one that should hang straight down."""


class Dropped(Exception):
    """The carried object has left the gripper."""


class Arm:
    """The servo and its state: target orientation, finger command, last action, and the phase of its work.

    Args:
        last: the action ``(7,)`` that was played last, from which the arm goes on; none for an arm at rest.
    """

    def __init__(self, world: World, last: np.ndarray | None = None) -> None:
        self.world = world
        self.fingers = OPEN if last is None or last[6] < 0 else CLOSED
        self.phase = WAIT
        self.rotation = world.gripper_rotation
        self._last = np.zeros(6) if last is None else np.clip(last[:6], -1.0, 1.0)

    @property
    def position(self) -> np.ndarray:
        """Where the gripper is, ``(3,)`` m."""
        return self.world.gripper_position

    def facing(self, closing: np.ndarray) -> np.ndarray:
        """``closing`` or its opposite, whichever needs less turning and keeps the wrist away from its limit."""
        reference = SIDEWAYS + 0.35 * self.world.gripper_rotation[:, 0]
        return closing if closing @ reference >= 0 else -closing

    def nearest_frame(self, closing: np.ndarray, approach: np.ndarray) -> np.ndarray:
        """Of the two gripper frames that close along ``closing``, the one nearer to the present orientation."""
        frames = (gripper_frame(closing, approach), gripper_frame(-closing, approach))
        return min(frames, key=lambda frame: np.linalg.norm(rotation_vector(frame @ self.world.gripper_rotation.T)))

    def at(self, position: np.ndarray, frame: np.ndarray, tolerance: float, turn_tolerance: float = 0.4) -> bool:
        """Whether the hand is within the tolerances (m, rad) of a pose."""
        turn = rotation_vector(frame @ self.world.gripper_rotation.T)
        return bool(np.linalg.norm(position - self.position) < tolerance and np.linalg.norm(turn) < turn_tolerance)

    def level(self) -> np.ndarray:
        """The present gripper frame, pointing straight down if it nearly does (by ``LEVEL``)."""
        frame = self.world.gripper_rotation
        return gripper_frame(frame[:, 0]) if frame[:, 2] @ DOWN > np.cos(LEVEL) else frame

    def servo(
        self,
        position: np.ndarray,
        rotation: np.ndarray,
        speed: float = 1.0,
        turn_gain: float = 6.0,
        turn_speed: float = 0.9,
    ) -> Motion:
        """One control step towards a pose; ``speed`` and ``turn_speed`` bound the action's parts."""
        translation = _bounded((position - self.position) * TRANSLATION_GAIN, speed)
        turn = _bounded(rotation_vector(rotation @ self.world.gripper_rotation.T) * turn_gain / 2, turn_speed)
        wanted = np.clip(np.concatenate([translation, turn]), -1.0, 1.0)
        self._last = self._last + np.clip(wanted - self._last, -MAX_ACTION_CHANGE, MAX_ACTION_CHANGE)
        yield np.append(self._last, self.fingers)

    def move(
        self,
        position: np.ndarray | list[float],
        rotation: np.ndarray | None = None,
        *,
        tolerance: float = 0.008,
        turn_tolerance: float = 0.12,
        speed: float = 1.0,
        max_steps: int = 120,
        stall: int = 10,
        carrying: tuple[str, float] | None = None,
    ) -> Generator[np.ndarray, None, bool]:
        """Go to a pose; gives up when it comes no nearer for ``stall`` steps.

        Args:
            carrying: an object and its distance from the gripper; raises ``Dropped`` when it strays by 4 cm.

        Returns:
            Whether the pose was reached within the tolerances (m, rad).
        """
        target = np.asarray(position, dtype=float)
        if rotation is not None:
            self.rotation = rotation
        best, best_step = np.inf, 0
        for step in range(max_steps):
            yield from self.servo(target, self.rotation, speed)
            distance = float(np.linalg.norm(target - self.position))
            angle = float(np.linalg.norm(rotation_vector(self.rotation @ self.world.gripper_rotation.T)))
            if distance < tolerance and angle < turn_tolerance:
                return True
            if carrying and np.linalg.norm(self.world.position(carrying[0]) - self.position) > carrying[1] + 0.04:
                raise Dropped(carrying[0])
            remaining = distance + 0.05 * angle
            if remaining < best - 0.0008:
                best, best_step = remaining, step
            elif step - best_step > stall:
                break
        return False

    def rise(self, height: float, tolerance: float = 0.03, speed: float = 1.0) -> Generator[np.ndarray, None, bool]:
        """Go straight up by ``height``."""
        return (yield from self.move(self.position + height * UP, tolerance=tolerance, speed=speed))

    def wait(self, steps: int) -> Motion:
        """Hold the pose."""
        position = self.position
        for _ in range(steps):
            yield from self.servo(position, self.rotation, 0.3)

    def grip(self, fingers: float, steps: int) -> Motion:
        """Open or close the fingers in place."""
        self.fingers = fingers
        yield from self.wait(steps)


def _bounded(vector: np.ndarray, limit: float) -> np.ndarray:
    largest = np.abs(vector).max()
    return vector * (limit / largest) if largest > limit else vector
