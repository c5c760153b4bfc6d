"""How far LIBERO's controller takes the arm within one control period, to say in degrees what an action is.

OSC_POSE pulls the hand to a goal as a critically damped spring does, so of the way to it the hand covers a fixed share
in the first control period, and two actions that differ take it as far apart as their difference would take it.
"""

import numpy as np

from common.conventions import CONTROL_FREQUENCY

POSITION_SCALE = 0.05
"""metres for an action of 1"""
ROTATION_SCALE = 0.5
"""radians for an action of 1"""
STIFFNESS = 150.0
"""1/s^2, critically damped"""
SINGULAR = 1e-6
"""Added to what is inverted (1/kg, 1/(kg m^2)), so that a stretched arm gives no endless answer."""


def joint_step(
    jacobian: np.ndarray,
    inertia: np.ndarray,
    action: np.ndarray,
    *,
    position_scale: float = POSITION_SCALE,
    rotation_scale: float = ROTATION_SCALE,
    stiffness: float = STIFFNESS,
    seconds: float = 1 / CONTROL_FREQUENCY,
) -> np.ndarray:
    """How far (n,) rad an action, or a difference of two, takes each joint within ``seconds``, from rest.

    jacobian: (6, n), of the hand's translation and rotation. inertia: (n, n), of the joints. action: (6,), in units of
    an action. Friction, gravity and contacts are left aside; what the arm does differs by up to a third.
    """
    grown = np.sqrt(stiffness) * seconds
    share = 1 - (1 + grown) * np.exp(-grown)
    spread = np.linalg.solve(inertia, jacobian.T)
    mobility = jacobian @ spread + SINGULAR * np.eye(6)
    place = np.linalg.solve(mobility[:3, :3], position_scale * action[:3])
    turn = np.linalg.solve(mobility[3:, 3:], rotation_scale * action[3:6])  # uncoupled, as the controller has it
    return share * spread @ np.concatenate([place, turn])
