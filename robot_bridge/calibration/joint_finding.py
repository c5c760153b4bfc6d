"""Which joint of the robot a person has moved, and how a joint of the model moves, in words."""

from collections.abc import Mapping

import numpy as np

from robot_bridge.calibration.measurements import RealJoint, Unclear
from robot_bridge.rotations import rotation_vector
from robot_bridge.safety import Poses

ENOUGH = 0.2
"""rad that a joint must be moved by, about 12 degrees."""
BESIDE = 0.3
"""Share of that movement that another joint may make: a hand that guides an arm moves the others a little."""
TRIED = 0.3
"""rad by which a joint of the model is moved to see what the hand does."""
SHIFT = 0.03
"""m that the hand must go for its way to tell the direction; else it is how it turns."""
WAYS = (("forward", "back"), ("left", "right"), ("up", "down"))
SEEN_FROM = ("the front", "its left", "above")
"""From where positive turns about x, y, z are counter-clockwise; the base looks along x."""


def find_joint(moved: np.ndarray, taken: Mapping[int, str]) -> RealJoint:
    """The joint that was moved forwards, of ``moved`` (real_dof,) rad; ``taken`` are those that have a name already.

    Raises:
        Unclear: none was moved far enough, or several, or one that is taken.
    """
    way = np.abs(moved)
    index = int(way.argmax())
    if way[index] > 2 * np.pi:
        raise Unclear(f"joint {index} of the robot moved by {way[index]:.1f} rad; if it speaks degrees: joint_map unit")
    if way[index] < ENOUGH:
        raise Unclear(
            f"no joint moved far enough: joint {index} of the robot moved most, by {np.degrees(way[index]):.1f} of "
            f"{np.degrees(ENOUGH):.0f} degrees"
        )
    beside = [other for other in np.flatnonzero(way > BESIDE * way[index]).tolist() if other != index]
    if beside:
        several = ", ".join(f"{other} by {np.degrees(moved[other]):+.0f}" for other in sorted((index, *beside)))
        raise Unclear(f"several joints of the robot moved: {several} degrees; move one alone, from here")
    if index in taken:
        raise Unclear(f"that is joint {index} of the robot, which is {taken[index]} already; move another, or go back")
    return RealJoint(index, int(np.sign(moved[index])))


def positive_direction(body: Poses, q: np.ndarray, joint: int) -> str:
    """What the hand does when ``joint`` goes forwards from ``q`` (n,) rad: where it goes, or how it turns.

    Forward and left are those of one who stands at the base and looks along its x.
    """
    before, facing = body.pose(q)
    after, turned = body.pose(q + np.eye(len(q))[joint] * TRIED)
    way = after - before
    if np.linalg.norm(way) > SHIFT:
        main = np.flatnonzero(np.abs(way) > 0.5 * np.abs(way).max())
        return "the hand goes " + " and ".join(WAYS[axis][int(way[axis] < 0)] for axis in main)
    turn = rotation_vector(turned @ facing.T)
    axis = int(np.abs(turn).argmax())
    sense = "counter-clockwise" if turn[axis] > 0 else "clockwise"
    return f"the hand turns {sense}, seen from {SEEN_FROM[axis]}"
