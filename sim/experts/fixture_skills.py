"""Skills for things that are fixed in place: knobs, drawers, doors, the microwave; and pushing a plate."""

import numpy as np

from sim.experts.arm import CLOSED, OPEN, Arm, Motion
from sim.experts.carry import come_clear, empty_hand, pick
from sim.experts.geometry import SIDEWAYS, UP, about_z, gripper_frame, sideways, tilted
from sim.experts.grasps import Grasp
from sim.experts.world import World

PULL = 0.02
"""How fast (m a step) a drawer is pulled."""
SLIPPED = 0.03
"""How far (m) a hand comes ahead of the drawer that it pulls when its fingers have slipped off the handle."""
NEARLY_OPEN = 0.01
"""A drawer that lacks this much (m) is not pulled again."""
AT_WORK = 0.05
"""How near (m) a hand that took over is to where it would begin to push, to push at once."""


def turn_knob(world: World, arm: Arm, stove: str) -> Motion:
    """Turn a stove on: grip across the knob's bar and rotate it about the vertical."""
    origin, rotation = world.position(stove), world.rotation(stove)
    joint = world.first_joint(stove)
    bar = rotation @ about_z(world.joint(joint))
    knob = origin + bar @ np.array([-0.0174, 0.0014, 0.0])
    knob[2] = origin[2] + 0.035
    frame = gripper_frame(arm.facing(bar @ SIDEWAYS))
    if not world.grips(stove):
        arm.phase, arm.fingers = "reach", OPEN
        yield from come_clear(world, arm)
        yield from arm.move(knob + 0.12 * UP, frame, tolerance=0.03, turn_tolerance=0.3)
        yield from arm.move(knob + 0.05 * UP, tolerance=0.01)
        yield from arm.move(knob, tolerance=0.005, speed=0.4)
        arm.phase = "grasp"
        yield from arm.grip(CLOSED, 10)
    arm.phase, offset = "turn", arm.position - origin
    for step in range(60):
        turn = about_z(min(0.04 * (step + 1), 1.2))
        arm.rotation = turn @ frame
        yield from arm.servo(origin + turn @ offset, arm.rotation, 0.6, turn_gain=6.0, turn_speed=0.6)
        if world.joint(joint) > 0.75:
            break
    arm.phase = "retreat"
    yield from arm.grip(OPEN, 6)
    yield from arm.rise(0.12)


def open_drawer(world: World, arm: Arm, region: str, until: float = -0.155, tries: int = 3) -> Motion:
    """Pull the drawer of a region open by its handle until its joint is below ``until`` (m).

    Fingers that slip off the handle take it again where it is then.
    """
    yield from empty_hand(world, arm)
    parent, (_, outward) = world.parent(region), _drawer_handle(world, region)
    joint, drawer = world.first_joint(region), _drawer(world, region)
    approach = tilted(outward, 85 if "middle" in region else 75)
    frame = arm.nearest_frame(UP - approach * approach[2], approach)
    for attempt in range(tries):
        if not world.grips(parent, drawer):
            handle, _ = _drawer_handle(world, region)
            standoff = handle - approach * 0.10
            arm.phase, arm.fingers = "reach", OPEN
            if attempt == 0:
                yield from come_clear(world, arm)
                above = [standoff[0], standoff[1], max(arm.position[2], standoff[2])]
                yield from arm.move(above, frame, tolerance=0.04, turn_tolerance=0.4)
            yield from arm.move(standoff, tolerance=0.01, turn_tolerance=0.1)
            yield from arm.move(handle, tolerance=0.005, speed=0.6, stall=5)
            arm.phase = "grasp"
            yield from arm.grip(CLOSED, 8)
        arm.phase, start, opening = "open", arm.position, world.joint(joint)
        for step in range(90):
            yield from arm.servo(start + outward * min(PULL * (step + 2), 0.2), frame, 0.8)
            pulled = (arm.position - start) @ outward
            if world.joint(joint) < until or pulled > opening - world.joint(joint) + SLIPPED:
                break
        arm.phase = "retreat"
        yield from arm.grip(OPEN, 5)
        yield from arm.move(arm.position - approach * 0.08, tolerance=0.03)
        if world.joint(joint) < until + NEARLY_OPEN:
            break
    home = gripper_frame(arm.facing(SIDEWAYS))
    yield from arm.move(arm.position + 0.1 * UP, home, tolerance=0.06, turn_tolerance=0.6)


def close_drawer(world: World, arm: Arm, region: str) -> Motion:
    """Push the drawer of a region shut with closed fingers."""
    parent = world.parent(region)
    handle, outward = _drawer_handle(world, region)
    joint = world.first_joint(region)
    frame = gripper_frame(arm.facing(world.rotation(parent)[:, 0]), tilted(outward, 48))
    before = handle + outward * 0.03
    before[2] = max(handle[2] - 0.002, world.position(parent)[2] + 0.02)
    arm.phase, arm.fingers = "reach", CLOSED
    if not arm.at(before, frame, AT_WORK):
        here = arm.position
        yield from arm.move([here[0], here[1], max(here[2], before[2] + 0.15)], tolerance=0.04)
        yield from arm.move(before + outward * 0.05 + 0.15 * UP, frame, tolerance=0.03, turn_tolerance=0.3)
        yield from arm.move(before, tolerance=0.02)
    arm.phase, start = "close", arm.position
    for step in range(120):
        yield from arm.servo(start - outward * min(0.006 * step + 0.01, 0.32), frame, 0.6)
        if world.joint(joint) > 0.002:
            break
    arm.phase = "retreat"
    yield from arm.move(arm.position + outward * 0.06, tolerance=0.03)


def _drawer(world: World, region: str) -> str:
    """The body of the drawer that a region is in."""
    return world.part(world.parent(region), f"cabinet_{region.split('_')[-2]}")


def _drawer_handle(world: World, region: str) -> tuple[np.ndarray, np.ndarray]:
    """Centre of a drawer's handle and the direction in which it opens."""
    parent = world.parent(region)
    rotation = world.rotation(parent)
    points = world.points(parent, _drawer(world, region))
    depth = ((points - world.position(parent)) @ rotation)[:, 1]
    front = points[depth < depth.min() + 0.02]
    return (front.max(axis=0) + front.min(axis=0)) / 2, -rotation[:, 1]


class _Door:
    """The microwave's door: points on it in the world for any opening angle (0 is shut, negative open)."""

    def __init__(self, world: World, microwave: str) -> None:
        self._rotation = world.rotation(microwave)
        self.anchor = world.position(microwave) + self._rotation @ np.array([-0.172, -0.088, 0.096])
        self.joint = world.first_joint(microwave)

    def point(self, angle: float, radius: float, offset: float, height: float) -> np.ndarray:
        """A point at ``radius`` from the hinge and ``offset`` inside the door's plane."""
        point = self.anchor + self._rotation @ about_z(angle) @ np.array([radius, offset, 0.0])
        point[2] = height
        return point


def close_door(world: World, arm: Arm, microwave: str) -> Motion:
    """Push the microwave's door shut from outside."""
    door, origin, rotation = _Door(world, microwave), world.position(microwave), world.rotation(microwave)
    frame = gripper_frame(arm.facing(SIDEWAYS))
    height, high = door.anchor[2] + 0.03, origin[2] + 0.28
    arm.phase, arm.fingers = "reach", CLOSED
    outside = door.point(world.joint(door.joint), 0.20, -0.10, height)
    if not arm.at(door.point(world.joint(door.joint), 0.20, -0.05, height), frame, AT_WORK):
        here = arm.position
        yield from arm.move([here[0], here[1], max(here[2], high)], tolerance=0.04)
        yield from arm.move([outside[0] - 0.02, outside[1], high], frame, tolerance=0.03, turn_tolerance=0.3)
        yield from arm.move(outside, tolerance=0.02)
    arm.phase = "close"
    for _ in range(170):
        angle = world.joint(door.joint)
        yield from arm.servo(door.point(min(angle + 0.25, 0.15), 0.20, 0.0, height), frame, 0.55)
        if angle > -0.002:
            break
    arm.phase = "retreat"
    yield from arm.move(arm.position + rotation @ np.array([0.0, -0.08, 0.05]), tolerance=0.03)


def widen_door(world: World, arm: Arm, microwave: str, until: float = -1.75) -> Motion:
    """Push the microwave's door further open from inside."""
    yield from empty_hand(world, arm)
    yield from come_clear(world, arm)
    door, origin, rotation = _Door(world, microwave), world.position(microwave), world.rotation(microwave)
    frame = gripper_frame(arm.facing(SIDEWAYS))
    height, high = door.anchor[2] + 0.05, origin[2] + 0.28
    arm.phase, arm.fingers = "reach", CLOSED
    inside = door.point(world.joint(door.joint), 0.17, 0.075, height)
    yield from arm.move([inside[0], inside[1], high], frame, tolerance=0.03, turn_tolerance=0.3)
    yield from arm.move(inside, tolerance=0.02)
    arm.phase = "open"
    for _ in range(80):
        angle = world.joint(door.joint)
        yield from arm.servo(door.point(angle - 0.3, 0.17, 0.0, height), frame, 0.45)
        if angle < until:
            break
    arm.phase = "retreat"
    yield from arm.move(arm.position + rotation @ np.array([0.05, 0.0, 0.0]), tolerance=0.03)
    here = arm.position
    yield from arm.move([here[0], here[1], high], tolerance=0.04)
    arm.fingers = OPEN


def into_microwave(world: World, arm: Arm, name: str, region: str) -> Motion:
    """Carry a mug by its handle into the microwave with the hand tilted by 55 degrees."""
    microwave = world.parent(region)
    inward = world.rotation(microwave)[:, 1]
    if world.joint(world.first_joint(microwave)) > -1.55:
        yield from widen_door(world, arm, microwave)
    rotation = world.rotation(name)
    handle = world.position(name) + rotation @ np.array([0.0641, 0.0, 0.062])
    grasp = Grasp(handle, rotation[:, 1], tilted(-inward, 55))
    yield from pick(world, arm, name, grasp=grasp, lift=0.07, tries=2)
    center, _ = world.region(region)
    floor = world.position(microwave)[2] + 0.028

    def bring(y: float, z: float, tolerance: float, speed: float = 1.0, max_steps: int = 120) -> Motion:
        held = world.position(name) - arm.position
        target = np.array([center[0] - 0.012, center[1] + y, floor + z])
        yield from arm.move(target - held, tolerance=tolerance, speed=speed, max_steps=max_steps)

    beside, depth, _ = world.position(name) - center
    if depth < -0.15 or abs(beside + 0.012) > 0.02:  # not yet on its way in
        yield from bring(-0.26, 0.012, 0.015)
        yield from bring(-0.26, 0.012, 0.008, max_steps=40)
    yield from bring(0.0, 0.012, 0.01, speed=0.5)
    yield from bring(0.0, 0.0, 0.006, max_steps=25)
    arm.phase = "retreat"
    yield from arm.grip(OPEN, 8)
    yield from arm.move(arm.position - inward * 0.12, tolerance=0.02)
    home = gripper_frame(arm.facing(SIDEWAYS))
    yield from arm.move(arm.position + np.array([0.0, -0.05, 0.18]), home, tolerance=0.05, turn_tolerance=0.4)


def push_plate(world: World, arm: Arm, plate: str, target: np.ndarray) -> Motion:
    """Drag a plate over the table with closed fingers pressed inside it."""
    yield from empty_hand(world, arm)
    way = target[:2] - world.position(plate)[:2]
    way = way / np.linalg.norm(way)
    frame = gripper_frame(arm.facing(sideways(way)))
    arm.phase, arm.fingers = "reach", CLOSED
    inside = world.position(plate) + 0.008 * UP
    if not arm.at(inside, frame, 0.03):
        yield from come_clear(world, arm)
        yield from arm.move(inside + 0.10 * UP, frame, tolerance=0.02)
        yield from arm.move(inside, tolerance=0.006, speed=0.4)
    arm.phase = "push"
    for _ in range(300):
        position = world.position(plate)
        remaining = target[:2] - position[:2]
        distance = float(np.linalg.norm(remaining))
        if np.linalg.norm(arm.position[:2] - position[:2]) > 0.075:
            yield from arm.rise(0.06, tolerance=0.02)
            yield from arm.move(position + 0.08 * UP, frame, tolerance=0.02)
            yield from arm.move(position + 0.008 * UP, frame, tolerance=0.006, speed=0.4, max_steps=40)
        step = arm.position[:2] + remaining / distance * min(distance, 0.03)
        yield from arm.servo(np.array([step[0], step[1], world.position(plate)[2] + 0.004]), frame, 0.35)
        if distance < 0.01:
            break
    arm.phase = "retreat"
    yield from arm.rise(0.1)
