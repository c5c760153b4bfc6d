"""Picking up and putting down: the two skills most tasks are made of.

Both go on from wherever another has left the hand: above its grasp, or with an object in it.
"""

from contextlib import suppress

import numpy as np

from sim.experts.arm import CLOSED, OPEN, Arm, Dropped, Motion
from sim.experts.geometry import UP, Unreachable, about_z, gripper_frame, rotation_vector
from sim.experts.grasps import FINGER_OPENING, Grasp, grasps
from sim.experts.world import World

EASY_REACH = 0.5
"""Distance of the joints to their limits (rad) above which a grasp is as good as any."""
STRAIN, OUT_OF_REACH = 5.0, 50.0
"""What a grasp costs for each rad below that, and for each metre or rad by which the arm does not get there."""
SLIP = 0.02
"""How much nearer or farther (m) an object may be after the first 6 cm of lifting and still count as held."""
STANDOFF, ARRIVAL = 0.09, 0.14
"""How far before the grasp (m) the hand lines up, and at most how far above it the hand arrives before that."""

CLEAR = 0.02
"""How far (m) fingertips stay above what is near, before the hand moves sideways."""


def pick(
    world: World,
    arm: Arm,
    name: str,
    *,
    along: np.ndarray | None = None,
    destination: np.ndarray | None = None,
    grasp: Grasp | None = None,
    lift: float = 0.10,
    tries: int = 3,
) -> Motion:
    """Grasp an object and lift it by ``lift`` m; a failed grasp is tried again elsewhere on the object.

    An object that is in the hand already, and held well enough, is only lifted, and one in the air not even that.

    Args:
        along, destination: see ``grasps``.
        grasp: use this grasp instead of searching one.

    Raises:
        Unreachable: no try lifted the object.
    """
    used, held = 0, world.held()
    if held is not None and not (held == name and _held_well(arm, along, grasp)):
        yield from put_down(world, arm, held)
        held = None
    for _ in range(tries):
        if held == name:
            arm.rotation = frame = arm.level()
            arm.fingers, held = CLOSED, None
            if world.airborne(name):
                return
        else:
            if grasp is not None:
                chosen, frame = grasp, gripper_frame(arm.facing(grasp.closing), grasp.approach)
            else:
                chosen, frame, used = _reachable(world, arm, name, along, destination, used)
            arm.phase = "reach"
            yield from _approach(world, arm, chosen, frame, searched=grasp is None)
            arm.phase = "grasp"
            yield from arm.grip(CLOSED, 11)
        arm.phase = "carry"
        start, apart = arm.position, _distance(world, arm, name)
        yield from arm.move(start + 0.06 * UP, frame, tolerance=0.015, speed=0.6)
        # An object held by its rim tilts while it rises: its origin comes less far up than the hand does.
        if arm.position[2] > start[2] + 0.03 and abs(_distance(world, arm, name) - apart) < SLIP:
            if lift > 0.06:
                yield from arm.move(start + lift * UP, frame, tolerance=0.03)
            return
        arm.phase = "retreat"
        yield from arm.grip(OPEN, 6)
        yield from arm.rise(0.1)
    raise Unreachable(f"could not lift {name} in {tries} tries")


def _held_well(arm: Arm, along: np.ndarray | None, grasp: Grasp | None) -> bool:
    """Whether the hand holds an object as ``pick`` would have been asked to grasp it."""
    if grasp is not None:
        frame = arm.nearest_frame(grasp.closing, grasp.approach)
        return arm.at(grasp.position, frame, 0.03)
    return along is None or abs(arm.world.gripper_rotation[:, 0] @ along) > 0.7


def put_down(world: World, arm: Arm, name: str) -> Motion:
    """Rid the hand of an object: where it is if it stands there or belongs there, else on a free place of the table."""
    belongs = any(world.holds(goal) for goal in world.goals if goal[1] == name)
    if world.airborne(name) and not belongs:
        arm.fingers, arm.rotation = CLOSED, arm.level()
        with suppress(Dropped):
            yield from _carry(world, arm, name, world.free_place(name), 0.08, 0.0, 0.004, 0.5)
    yield from _let_go(arm)


def empty_hand(world: World, arm: Arm) -> Motion:
    """Put down what the hand holds, if it holds something."""
    held = world.held()
    if held is not None:
        yield from put_down(world, arm, held)


def come_clear(world: World, arm: Arm) -> Motion:
    """Draw the hand out from among things, backwards, until its fingertips are above all that is near."""
    if world.gripper_rotation[2, 2] > -0.8 and world.height_near(arm.position) > arm.position[2] - CLEAR:
        yield from arm.move(arm.position - world.gripper_rotation[:, 2] * 0.1, tolerance=0.03)
    lacking = world.height_near(arm.position) + 2 * CLEAR - arm.position[2]
    if lacking > 0:
        yield from arm.rise(min(lacking, 0.2), tolerance=0.015)


def _distance(world: World, arm: Arm, name: str) -> float:
    return float(np.linalg.norm(world.position(name) - arm.position))


def _reachable(
    world: World, arm: Arm, name: str, along: np.ndarray | None, destination: np.ndarray | None, used: int
) -> tuple[Grasp, np.ndarray, int]:
    """The best of the next grasps, also for the arm, here and at the destination."""
    ways = [np.zeros(3)] if destination is None else [np.zeros(3), destination - world.position(name)]
    best: tuple[float, Grasp, np.ndarray, int] | None = None
    for rank, candidate in enumerate(grasps(world, arm, name, along, destination)[used : used + 12]):
        if best is not None and best[0] <= candidate.cost:
            break  # the rest cost more, whatever the arm says
        facing = arm.facing(candidate.closing)
        for closing in (facing, -facing):
            frame = gripper_frame(closing, candidate.approach)
            comfort = min(_comfort(world, candidate.position + way, frame) for way in ways)
            cost = candidate.cost + STRAIN * max(0.0, EASY_REACH - max(comfort, 0.0)) - OUT_OF_REACH * min(comfort, 0.0)
            if best is None or cost < best[0]:
                best = cost, candidate, frame, used + rank + 1
    if best is None:
        raise Unreachable(f"no grasp of {name} left to try")
    return best[1:]


def _comfort(world: World, position: np.ndarray, frame: np.ndarray) -> float:
    """Distance of the joints to their limits (rad) with the hand there and on its way; negative out of reach."""
    worst = np.inf
    for retreat in (0.0, STANDOFF, ARRIVAL):
        error, margin = world.reach(position - retreat * frame[:, 2], frame)
        worst = min(worst, margin if error <= 0.01 else -error)
    return worst


def _approach(world: World, arm: Arm, grasp: Grasp, frame: np.ndarray, searched: bool) -> Motion:
    standoff = grasp.position - grasp.approach * STANDOFF
    opening, arm.fingers = world.finger_opening, OPEN
    if opening > FINGER_OPENING and _lined_up(arm, grasp, frame):
        yield from arm.move(grasp.position, frame, tolerance=0.004, turn_tolerance=0.06, speed=0.5, stall=8)
        return
    yield from come_clear(world, arm)
    height = arm.position[2]
    if grasp.approach[2] < -0.9:
        above = max(standoff[2] + 0.02, min(height, grasp.position[2] + ARRIVAL))
        yield from arm.move([standoff[0], standoff[1], above], frame, tolerance=0.03, turn_tolerance=0.3)
    elif searched:
        far = grasp.position - grasp.approach * 0.20
        yield from arm.move([far[0], far[1], max(far[2], height)], frame, tolerance=0.04, turn_tolerance=0.3)
    yield from arm.move(standoff, frame, tolerance=0.01)
    yield from arm.move(grasp.position, frame, tolerance=0.004, turn_tolerance=0.06, speed=0.5, stall=8)


def _lined_up(arm: Arm, grasp: Grasp, frame: np.ndarray) -> bool:
    """Whether the hand is between standoff and grasp, and needs only to go on."""
    offset = grasp.position - arm.position
    ahead = float(offset @ grasp.approach)
    aside = float(np.linalg.norm(offset - ahead * grasp.approach))
    turn = float(np.linalg.norm(rotation_vector(frame @ arm.world.gripper_rotation.T)))
    return -0.01 < ahead < STANDOFF + 0.01 and aside < 0.012 + 0.15 * max(ahead, 0.0) and turn < 0.3


def place(
    world: World,
    arm: Arm,
    name: str,
    target: np.ndarray,
    *,
    clearance: float = 0.08,
    turn: float = 0.0,
    drop: float = 0.004,
    retreat: float = 0.10,
    speed: float = 0.5,
) -> Motion:
    """Bring a held object's origin to ``target``, let go and retreat; picks it up again when it is dropped.

    Args:
        clearance: height above the target (m) from which it is lowered.
        turn: rotation about the vertical on the way (rad).
        drop: height above the target (m) at which the fingers open.

    Raises:
        Unreachable: dropped three times.
    """
    for _ in range(3):
        try:
            yield from _carry(world, arm, name, np.asarray(target, dtype=float), clearance, turn, drop, speed)
        except Dropped:
            arm.phase, arm.fingers = "retreat", OPEN
            yield from arm.rise(0.05)
            yield from pick(world, arm, name)
            continue
        yield from _let_go(arm, retreat)
        return
    raise Unreachable(f"dropped {name} three times")


def _let_go(arm: Arm, retreat: float = 0.10) -> Motion:
    arm.phase = "retreat"
    yield from arm.grip(OPEN, 8)
    yield from arm.move(arm.position - arm.rotation[:, 2] * retreat, tolerance=0.03, speed=0.8)


def _carry(
    world: World, arm: Arm, name: str, target: np.ndarray, clearance: float, turn: float, drop: float, speed: float
) -> Motion:
    arm.phase = "carry"
    frame = about_z(turn) @ arm.rotation

    def gripper_target(height: float) -> np.ndarray:
        held = world.gripper_rotation.T @ (world.position(name) - arm.position)
        return target + height * UP - frame @ held

    start, above = arm.position, gripper_target(clearance)
    lowest = world.points(name)[:, 2].min()
    need = _tallest_between(world, name, world.position(name)[:2], target[:2]) + 0.025 - lowest
    travel = min(max(start[2], above[2], start[2] + need), start[2] + 0.25)
    if travel > start[2] + 0.02:
        yield from arm.move([start[0], start[1], travel], tolerance=0.02)
    held = (name, _distance(world, arm, name))
    yield from arm.move([above[0], above[1], travel], frame, tolerance=0.02, turn_tolerance=0.2, carrying=held)
    yield from arm.move(gripper_target(clearance), tolerance=0.012, carrying=held)
    # The object may have slipped in the hand on the way: aim again from where it is now.
    yield from arm.move(gripper_target(clearance), tolerance=0.006, max_steps=40, stall=8)
    if _distance(world, arm, name) > 0.3:
        raise Dropped(name)
    yield from arm.move(gripper_target(drop), tolerance=0.006, speed=speed, stall=10)


def _tallest_between(world: World, carried: str, start: np.ndarray, end: np.ndarray) -> float:
    """Top of the tallest thing within 10 cm of the straight way between two horizontal positions (m)."""
    way = end - start
    length = max(float(np.linalg.norm(way)), 1e-6)
    top = -np.inf
    for name in world.names():
        if name == carried:
            continue
        points = world.points(name)
        along = np.clip(((points[:, :2] - start) @ way) / length**2, 0, 1)
        near = np.linalg.norm(points[:, :2] - (start + along[:, None] * way), axis=1) < 0.10
        if near.any():
            top = max(top, float(points[near, 2].max()))
    return top
