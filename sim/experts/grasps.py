"""Grasp synthesis: where and how to close the fingers on an object, from its collision shapes.

The fingertips end 1 cm below the grip site and the palm is only 3 cm above it, so grasps lie within 3 cm of an
object's top. The palm reaches 10.4 cm to both sides along the closing axis and causes most collisions.
"""

from dataclasses import dataclass, replace

import numpy as np

from sim.experts.arm import Arm
from sim.experts.geometry import DOWN, axis_difference, gripper_frame, sideways
from sim.experts.world import World


@dataclass(frozen=True)
class Grasp:
    """Grip-site position (m), closing axis and approach direction, all in the world.

    ``cost``: how little it is liked, without regard to the arm; 3 and more for a hand that touches other things.
    """

    position: np.ndarray
    closing: np.ndarray
    approach: np.ndarray
    cost: float = 0.0


@dataclass(frozen=True)
class Recipe:
    """How a category is grasped: ``kind`` and the depth (m) of the grip site below the object's top.

    ``box``: across the narrowest width. ``rim``: one finger inside; ``center`` is the rim's centre in the object's
    frame. ``handle``: around the part between ``low`` and ``high`` in the object's frame, closing along its x axis.
    """

    kind: str
    depth: float
    center: tuple[float, float, float] = (0.0, 0.0, 0.0)
    low: tuple[float, float, float] = (0.0, 0.0, 0.0)
    high: tuple[float, float, float] = (0.0, 0.0, 0.0)


TALL, FLAT, SLIM = Recipe("box", 0.025), Recipe("box", 0.012), Recipe("box", 0.022)
BOWL = Recipe("rim", 0.024)
RECIPES = {
    **dict.fromkeys(("alphabet_soup", "tomato_sauce", "milk", "orange_juice", "ketchup", "bbq_sauce"), TALL),
    **dict.fromkeys(("salad_dressing", "new_salad_dressing"), TALL),
    **dict.fromkeys(("cream_cheese", "butter", "chocolate_pudding", "cookies", "popcorn", "macaroni_and_cheese"), FLAT),
    **dict.fromkeys(("wine_bottle", "black_book", "yellow_book"), SLIM),
    **dict.fromkeys(("akita_black_bowl", "white_bowl", "red_bowl"), BOWL),
    "porcelain_mug": Recipe("rim", 0.020, center=(0.0165, -0.002, 0.0)),
    "white_yellow_mug": Recipe("rim", 0.020, center=(-0.0185, 0.0, 0.0)),
    "red_coffee_mug": Recipe("rim", 0.020),
    "glazed_rim_porcelain_ramekin": Recipe("rim", 0.015),
    "plate": Recipe("rim", 0.006),
    "moka_pot": Recipe("handle", 0.030, low=(-0.03, 0.055, -0.02), high=(0.03, 0.1, 0.075)),
}


@dataclass(frozen=True)
class Way:
    """How the hand meets a rim: the grip site is ``depth`` below it and ``inward`` of it (m), leaning along it (rad).

    ``effort`` is added to the cost of a grasp.
    """

    depth: float
    inward: float = 0.0
    lean: float = 0.0
    effort: float = 0.0

    def approach(self, outward: np.ndarray) -> np.ndarray:
        """The approach direction where the rim's outward normal is this."""
        return DOWN * np.cos(self.lean) + sideways(outward) * np.sin(self.lean)


def _ways(depth: float) -> tuple[Way, ...]:
    """Straight down, and what is tried where that is blocked.

    Inward, the outer finger has room beside a wall, and the object slides between the fingers as they close.
    """
    return (
        Way(depth),
        Way(0.6 * depth, effort=0.3),
        Way(depth, inward=0.015, effort=0.3),
        Way(depth, lean=0.6, effort=0.6),
        Way(depth, lean=-0.6, effort=0.6),
    )


NEAR = 0.12
"""Distance (m) from which on it does not matter how far away a grasp is."""
FINGER_OPENING = 0.074
"""Widest object (m) that fits between the open fingers."""


def _grid(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    return np.stack(np.meshgrid(x, y, z, indexing="ij"), axis=-1).reshape(-1, 3)


# Sample points of the hand in the gripper frame: the palm, and both open fingers.
_HAND = np.concatenate(
    [
        _grid(np.linspace(-0.104, 0.104, 9), np.linspace(-0.032, 0.032, 5), np.linspace(-0.16, -0.031, 6)),
        _grid(
            np.array([-0.066, -0.053, -0.040, 0.040, 0.053, 0.066]),
            np.linspace(-0.010, 0.010, 3),
            np.linspace(-0.044, 0.009, 5),
        ),
    ]
)


class Collisions:
    """Counts how many sample points of the hand lie inside other things."""

    def __init__(self, world: World, held: str) -> None:
        boxes = world.obstacles(excluding=held)
        self._centers = np.array([center for center, _, _ in boxes])
        self._rotations = np.array([rotation for _, rotation, _ in boxes])
        self._sizes = np.array([size for _, _, size in boxes])

    def count(self, position: np.ndarray, frame: np.ndarray, retreats: tuple[float, ...]) -> int:
        """Hits at a gripper pose and backed off along its approach by each of ``retreats`` (m); 4 mm margin."""
        near = np.linalg.norm(self._centers - position, axis=1) <= 0.25 + np.linalg.norm(self._sizes, axis=1)
        centers, rotations, sizes = self._centers[near], self._rotations[near], self._sizes[near]
        hand = np.concatenate([_HAND @ frame.T + position - frame[:, 2] * retreat for retreat in retreats])
        local = np.einsum("hbi,bij->hbj", hand[:, None] - centers, rotations)
        return int((np.abs(local) < sizes + 0.004).all(axis=2).sum())


def rim_center(world: World, name: str) -> np.ndarray:
    """Centre of a bowl's or mug's rim circle, at the height of its origin; the origin of anything else."""
    recipe = RECIPES.get(world.category(name))
    center = np.array(recipe.center) if recipe else np.zeros(3)
    return world.position(name) + world.rotation(name) @ center


def grasps(
    world: World, arm: Arm, name: str, along: np.ndarray | None = None, destination: np.ndarray | None = None
) -> list[Grasp]:
    """Candidate grasps of an object, best first.

    Args:
        along: a horizontal direction that the closing axis should follow.
        destination: where the object's origin will go; the hand must fit there, too.

    Raises:
        KeyError: no recipe for this category.
    """
    recipe = RECIPES[world.category(name)]
    if recipe.kind == "handle":
        return [_handle_grasp(world, name, recipe)]
    if recipe.kind == "rim":
        found = _rim_grasps(world, arm, name, recipe, along, destination)
    else:
        found = _box_grasps(world, arm, name, recipe, along)
    nearer = [replace(grasp, cost=grasp.cost + _way(arm, grasp)) for grasp in found]
    return sorted(nearer, key=lambda grasp: grasp.cost)


def _way(arm: Arm, grasp: Grasp) -> float:
    """The cost of getting there: a hand that is near one grasp takes that; far away all are alike."""
    return 5.0 * min(float(np.linalg.norm(grasp.position - arm.position)), NEAR)


def _handle_grasp(world: World, name: str, recipe: Recipe) -> Grasp:
    points, rotation = world.points(name), world.rotation(name)
    local = (points - world.position(name)) @ rotation
    handle = points[np.all((local > recipe.low) & (local < recipe.high), axis=1)]
    height = handle[:, 2].max() - recipe.depth
    level = handle[np.abs(handle[:, 2] - height) < 0.02]
    center = (level.max(axis=0) + level.min(axis=0)) / 2
    return Grasp(np.array([center[0], center[1], height]), rotation[:, 0], DOWN)


def _box_grasps(world: World, arm: Arm, name: str, recipe: Recipe, along: np.ndarray | None) -> list[Grasp]:
    points = world.points(name)
    height = max(points[:, 2].max() - recipe.depth, points[:, 2].min() + 0.0085)
    level = points[points[:, 2] > height - 0.02]
    collisions = Collisions(world, name)
    candidates: list[Grasp] = []
    for angle in np.arange(0, np.pi, np.pi / 24):
        closing = np.array([np.cos(angle), np.sin(angle), 0.0])
        side = sideways(closing)
        across, lengthwise = level @ closing, level @ side
        width, length = np.ptp(across), np.ptp(lengthwise)
        if width > FINGER_OPENING:
            continue
        shifts = (0.0,) if length < 0.06 or width > 0.06 else (0.0, 0.012, -0.012, 0.025, -0.025)
        for shift in shifts:
            center = closing * (across.max() + across.min()) / 2
            center = center + side * ((lengthwise.max() + lengthwise.min()) / 2 + shift)
            position = np.array([center[0], center[1], height])
            hits = collisions.count(position, gripper_frame(arm.facing(closing)), (0.0, 0.06))
            cost = 60 * width + 0.24 * abs(_turn(arm, closing)) + 12 * abs(shift) + 3.0 * (hits > 0) + 0.12 * hits
            if along is not None:
                cost += 1.2 * (1 - abs(closing @ along))
            candidates.append(Grasp(position, closing, DOWN, cost))
    candidates.sort(key=lambda candidate: candidate.cost)
    distinct: list[Grasp] = []
    for grasp in candidates:
        if all(
            np.linalg.norm(grasp.position - other.position) > 0.008 or abs(grasp.closing @ other.closing) < 0.97
            for other in distinct
        ):
            distinct.append(grasp)
    return distinct


def _rim_grasps(
    world: World, arm: Arm, name: str, recipe: Recipe, along: np.ndarray | None, destination: np.ndarray | None
) -> list[Grasp]:
    """Sixteen rim angles, straight down and, where that is blocked, in the other ways."""
    points, center = world.points(name), rim_center(world, name)
    top = points[:, 2].max()
    is_mug = world.category(name).endswith("mug")
    radius = 0.042 if is_mug else 0.05
    collisions = Collisions(world, name)
    candidates: list[tuple[float, np.ndarray, Way]] = []
    for angle in np.arange(0, 2 * np.pi, np.pi / 8):
        outward = np.array([np.cos(angle), np.sin(angle), 0.0])
        side = sideways(outward)
        cost = 0.3 * abs(_turn(arm, outward))
        if is_mug:
            spoke = points[np.abs((points - center) @ side) < 0.02]
            cost += 3.0 * (((spoke - center) @ outward).max() > 0.052)  # the handle is there
        if along is not None:
            cost += 2.0 * (1 - abs(outward @ along))
        for way in _ways(recipe.depth):
            position = center + outward * (radius - way.inward)
            position[2] = top - way.depth
            frame = gripper_frame(arm.facing(outward), way.approach(outward))
            hits = collisions.count(position, frame, (0.0, 0.05, 0.10, 0.15))
            blocked = hits > 0
            if blocked and way.depth < recipe.depth:
                continue  # holds too little to make up for that
            if destination is not None:
                hits += collisions.count(position + destination - world.position(name), frame, (0.0, 0.08))
            candidates.append((cost + way.effort + 3.0 * (hits > 0) + 0.3 * hits, outward, way))
            if not blocked and way.lean == 0:
                break
    candidates.sort(key=lambda candidate: candidate[0])
    found = (_rim_grasp(points, center, *candidate) for candidate in candidates)
    return [grasp for grasp in found if grasp is not None]


def _rim_grasp(points: np.ndarray, center: np.ndarray, cost: float, outward: np.ndarray, way: Way) -> Grasp | None:
    """The grasp at one place of the rim; ``None`` where it is not at this height, as on a bowl that lies tilted."""
    height = points[:, 2].max() - way.depth
    side = sideways(outward)
    level = points[points[:, 2] > height - 0.012] - center
    radii = level[np.abs(level @ side) < 0.012] @ outward
    if not (radii > 0).any():
        return None
    radii = radii[radii > 0.3 * radii.max()]
    position = center + outward * ((radii.max() + radii.min()) / 2 - way.inward)
    position[2] = height + (0.008 if way.lean else 0.0)
    return Grasp(position, outward, way.approach(outward), cost)


def _turn(arm: Arm, closing: np.ndarray) -> float:
    """How far the wrist must turn to close along an undirected axis, in [-pi/2, pi/2) rad."""
    return axis_difference(closing, arm.world.gripper_rotation[:, 0])
