"""From a LIBERO goal to skills: which predicate is served by which motion."""

from collections.abc import Iterator

import numpy as np

from demos.phases import WAIT
from sim.experts.arm import CLOSED, Arm, Dropped, Motion
from sim.experts.carry import empty_hand, pick, place, put_down
from sim.experts.fixture_skills import close_door, close_drawer, into_microwave, open_drawer, push_plate, turn_knob
from sim.experts.geometry import UP, Unreachable, axis_difference
from sim.experts.grasps import RECIPES, rim_center
from sim.experts.world import World
from sim.libero.env import LiberoEnv

_ORDER = {"open": 0, "held": 1, "turnon": 2, "close": 4}
FINGERS_AT_REST = 0.002
"""Fingers that come nearer to each other by less than this (m a step) have closed."""
ROOM = -0.11
"""Where a drawer's joint (m) has to be for something to fit into it."""
ATTEMPTS = 3
"""How often the expert goes over goals that do not hold yet."""


def expert_actions(env: LiberoEnv, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """The expert's actions for the episode that ``env`` has just begun, ``(7,)`` each.

    After each action the caller must advance the environment by one step (with that action or a disturbed one).
    The iterator ends when every goal has been served and the hand has retreated, or when the expert gives up; it
    goes on past the step at which the task's success predicate first holds.

    Args:
        rng: varies what experts are free to choose (the pause before the first motion).
    """
    return (action for action, _ in expert_moves(env, rng))


def expert_moves(
    env: LiberoEnv, rng: np.random.Generator, last: np.ndarray | None = None
) -> Iterator[tuple[np.ndarray, str]]:
    """``expert_actions`` with the phase of its work that each action belongs to, one of ``demos.phases``.

    Args:
        last: the action that another has just played, ``(7,)``, if the expert takes over in the middle of an episode:
            it goes on from there without a pause.
    """
    world = World(env)
    arm = Arm(world, last)
    begin = _begin(world, arm, rng) if last is None else _take_over(world, arm)
    for motion in (begin, _serve_all(world, arm)):
        for action in motion:
            yield action, arm.phase


def next_object(world: World) -> str | None:
    """The object that the hand has to grasp next; None where something else comes first, such as a drawer."""
    unmet = sorted((goal for goal in world.goals if not world.holds(goal)), key=lambda goal: _rank(goal, world))
    return unmet[0][1] if unmet and unmet[0][0] in ("in", "on") else None


def _begin(world: World, arm: Arm, rng: np.random.Generator) -> Motion:
    yield from _wait_for_rest(world, arm)
    yield from arm.wait(int(rng.integers(0, 4)))


def _take_over(world: World, arm: Arm) -> Motion:
    """Let fingers close that are closing, then see what they hold."""
    if arm.fingers == CLOSED:
        arm.phase, before = "grasp", np.inf
        for _ in range(8):
            if world.held() or before - world.finger_opening < FINGERS_AT_REST:
                break
            before = world.finger_opening
            yield from arm.wait(1)
        arm.phase = WAIT
    yield from _wait_for_rest(world, arm)


def _serve_all(world: World, arm: Arm) -> Motion:
    for _ in range(ATTEMPTS):
        unmet = sorted((goal for goal in world.goals if not world.holds(goal)), key=lambda goal: _rank(goal, world))
        if not unmet:
            yield from empty_hand(world, arm)
            return
        for goal in unmet:
            if world.holds(goal):
                continue
            try:
                yield from _serve(world, arm, goal)
            except (Dropped, Unreachable):
                arm.phase = "retreat"
                yield from arm.rise(0.1)
    arm.phase = WAIT
    yield from arm.wait(10)


def _rank(goal: tuple[str, ...], world: World) -> int:
    """What is served first has the lowest: an object that is in the hand comes before most others."""
    in_hand = goal[0] in ("in", "on") and goal[1] == world.held()
    return _ORDER["held"] if in_hand else _ORDER.get(goal[0], 3)


def _wait_for_rest(world: World, arm: Arm, speed: float = 0.02, max_steps: int = 20) -> Motion:
    """Hold still until no object moves faster than ``speed`` (m/s): fresh placements begin in the air."""
    for _ in range(max_steps):
        if world.fastest_object(excluding=world.held()) < speed:
            return
        yield from arm.wait(1)


def _serve(world: World, arm: Arm, goal: tuple[str, ...]) -> Motion:
    predicate, name, *rest = goal
    if (held := world.held()) is not None and not (held == name and predicate in ("in", "on")):
        yield from put_down(world, arm, held)
    if predicate == "turnon":
        yield from turn_knob(world, arm, name)
    elif predicate == "open":
        yield from open_drawer(world, arm, name)
    elif predicate == "close":
        yield from (close_drawer if world.is_region(name) else close_door)(world, arm, name)
    elif predicate == "in":
        yield from _put_in(world, arm, name, rest[0])
    elif predicate == "on" and world.is_region(rest[0]):
        yield from _put_on_region(world, arm, name, rest[0])
    elif predicate == "on":
        yield from _put_on_object(world, arm, name, rest[0])
    else:
        raise Unreachable(f"no skill for the goal {' '.join(goal)}")


def _put_in(world: World, arm: Arm, name: str, region: str) -> Motion:
    container = world.category(world.parent(region))
    if container == "basket":
        yield from _put_in_basket(world, arm, name, region)
    elif container == "desk_caddy":
        yield from _put_in_caddy(world, arm, name, region)
    elif container == "microwave":
        yield from into_microwave(world, arm, name, region)
    elif "cabinet" in container:
        yield from _put_in_drawer(world, arm, name, region)
    else:
        raise Unreachable(f"no skill for putting {name} into a {container}")


def _put_in_basket(world: World, arm: Arm, name: str, region: str) -> Motion:
    yield from pick(world, arm, name, lift=0.12)
    target, _ = world.region(region)
    inside = world.contained(region, excluding=(name, world.parent(region)))
    if inside:
        away = target[:2] - world.position(inside[0])[:2]
        target[:2] += away / max(float(np.linalg.norm(away)), 1e-3) * 0.02
    target[2] += world.underside(name) - 0.02
    yield from place(world, arm, name, target, clearance=0.13, drop=0.0, speed=0.6)


def _put_in_caddy(world: World, arm: Arm, name: str, region: str) -> Motion:
    yield from pick(world, arm, name, lift=0.2)
    center, half_size = world.region(region)
    turn = axis_difference(world.rotation(world.parent(region))[:, 0], world.rotation(name)[:, 0])
    points = world.points(name)
    middle = (points.max(axis=0) + points.min(axis=0)) / 2 - world.position(name)
    c, s = np.cos(turn), np.sin(turn)
    target = center.copy()
    target[:2] -= np.array([c * middle[0] - s * middle[1], s * middle[0] + c * middle[1]])
    target[2] = center[2] - half_size[2] + 0.004
    yield from place(world, arm, name, target, clearance=0.22, turn=turn, drop=0.0, speed=0.4)


def _put_in_drawer(world: World, arm: Arm, name: str, region: str) -> Motion:
    cabinet, joint = world.parent(region), world.first_joint(region)
    if "bottom" in region and world.joint(joint) > ROOM:
        raise Unreachable("the palm meets the table before the fingers get to the handle of a bottom drawer")
    if "bottom" not in region and not world.is_open(region):
        yield from open_drawer(world, arm, region, until=-0.138)
    origin, rotation = world.position(cabinet), world.rotation(cabinet)
    outward, top = -rotation[:, 1], "top" in region
    front = -0.0752 + world.joint(joint)  # y of the drawer's front in the cabinet's frame
    depth = ((world.position(name) - origin) @ rotation)[1]
    under_drawer = top and depth > front - 0.10
    along = None if top else np.abs(rotation[:, 0])
    yield from pick(world, arm, name, along=along, lift=0.05 if under_drawer else 0.15)
    if under_drawer:
        yield from arm.move(arm.position + outward * (depth - front + 0.10), tolerance=0.02)
    center, _ = world.region(region)
    local = (center - origin) @ rotation
    if world.joint(joint) < -0.05:
        local[1] = -0.0752 + world.joint(joint) + 0.066  # the middle of what the open drawer exposes
    target = origin + rotation @ local
    target[2] = center[2] - 0.02
    if RECIPES[world.category(name)].kind == "rim":
        target[:2] -= (rim_center(world, name) - world.position(name))[:2]
    yield from place(world, arm, name, target, clearance=0.1, drop=0.0)


def _put_on_region(world: World, arm: Arm, name: str, region: str) -> Motion:
    target, _ = world.region(region)
    parent = world.parent(region)
    support = world.category(parent) if parent and world.is_object(parent) else ""
    if world.category(name) == "plate":
        yield from push_plate(world, arm, name, target)
        return
    if support == "wine_rack":
        yield from pick(world, arm, name)
        yield from place(world, arm, name, target + 0.03 * UP, clearance=0.1, drop=0.0)
        return
    if support == "flat_stove":
        target[2] += 0.023
        target[:2] += _stove_place(world, name, region, target)
    else:
        target[2] += 0.003
    yield from pick(world, arm, name)
    target[2] += world.underside(name)
    yield from place(world, arm, name, target)


def _stove_place(world: World, name: str, region: str, center: np.ndarray) -> np.ndarray:
    """Two pots stand side by side on the burner: where this one goes, relative to its centre."""
    others = [goal[1] for goal in world.goals if goal[0] == "on" and goal[2] == region and goal[1] != name]
    if not others:
        return np.zeros(2)
    standing = [other for other in others if world.holds(("on", other, region))]
    side = -1.0 if standing and world.position(standing[0])[0] > center[0] else 1.0
    return np.array([0.043 * side, 0.01])


def _put_on_object(world: World, arm: Arm, name: str, support: str) -> Motion:
    rise = 0.006 if world.category(support) == "plate" else 0.02

    def target() -> np.ndarray:
        return world.position(support) + (rise + world.underside(name)) * UP

    yield from pick(world, arm, name, destination=target())
    yield from place(world, arm, name, target())
