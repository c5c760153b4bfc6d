"""The five arenas: floor, walls, the table of each, lights, cameras, and something to see in the background.

LIBERO's arena classes look up what is named here ('table', 'table_collision', 'texplane', 'tex-wall', ...) and set
table size, floor and wall style themselves. Lengths in metres, z up, the robot looks along +x.
"""

import xml.etree.ElementTree as ET
from dataclasses import dataclass

from sim.libero.procedural.mjcf import (
    GRIPPY,
    AssetWriter,
    Attributes,
    Body,
    Paint,
    Shape,
    Surface,
    Vec,
    add,
    new_root,
    to_text,
    write_body,
    write_skin,
)
from sim.libero.procedural.shapes import box, loft, painted, span

QUARTER_LEFT: Vec = (0.7071068, 0.0, 0.0, 0.7071068)
WALL_STANDS: dict[str, Vec] = {
    "leftcorner": (0.6532815, 0.6532815, 0.2705981, 0.2705981),
    "rightcorner": (0.6532815, 0.6532815, -0.2705981, -0.2705981),
    "left": (0.7071068, 0.7071068, 0.0, 0.0),
    "right": (0.7071068, -0.7071068, 0.0, 0.0),
    "rear": (0.5, 0.5, 0.5, 0.5),
    "front": (0.5, 0.5, -0.5, -0.5),
}
HALL: dict[str, tuple[Vec, float]] = {  # centre, half width
    "leftcorner": ((-1.25, 2.25, 1.5), 1.06),
    "rightcorner": ((-1.25, -2.25, 1.5), 1.06),
    "left": ((1.25, 3.0, 1.5), 1.75),
    "right": ((1.25, -3.0, 1.5), 1.75),
    "rear": ((-2.0, 0.0, 1.5), 1.5),
    "front": ((3.0, 0.0, 1.5), 3.0),
}
KITCHEN: dict[str, tuple[Vec, float]] = {
    "left": ((0.5, 3.0, 1.5), 2.5),
    "right": ((0.5, -3.0, 1.5), 2.5),
    "rear": ((-2.0, 0.0, 1.5), 3.0),
    "front": ((3.0, 0.0, 1.5), 3.0),
}
SEEN_ONLY: Attributes = {"group": 1, "contype": 0, "conaffinity": 0}
CAMERAS: dict[str, tuple[Vec, Vec]] = {
    "frontview": ((1.0, 0.0, 1.45), (0.56, 0.43, 0.43, 0.56)),
    "birdview": ((-0.2, 0.0, 3.0), QUARTER_LEFT),
    "agentview": ((0.5, 0.0, 1.35), (0.653, 0.271, 0.271, 0.653)),
    "sideview": ((-0.0565, 1.2761, 1.4880), (0.0099, 0.0069, 0.5912, 0.8064)),
}
FURNITURE_WOOD = Paint((0.35, 0.21, 0.14), gloss=0.3)
DESK_WOOD = Paint((0.66, 0.46, 0.24), "wood_light", gloss=0.2)


@dataclass(frozen=True)
class Arena:
    """One arena file. `wall_shine` is the walls' (specular, shininess): it sets how bright they look."""

    style: str
    walls: dict[str, tuple[Vec, float]]
    wall_shine: tuple[float, float] = (0.8, 0.1)
    floor_body: bool = False
    plain_table: bool = False
    bodies: tuple[Body, ...] = ()
    background: tuple[Shape, ...] = ()
    lamp: bool = False

    @property
    def path(self) -> str:
        return f"scenes/libero_{self.style}_style.xml"

    def xml(self) -> str:
        root = new_root(self.style)
        asset = add(root, "asset")
        _arena_assets(asset, *self.wall_shine)
        world = add(root, "worldbody")
        floor = add(world, "body", name="floor", pos=(0, 0, 0)) if self.floor_body else world
        plane: Attributes = {"type": "plane", "size": (3, 3, 0.125), "pos": (0, 0, 0), "condim": 3, "group": 1}
        add(floor, "geom", name="floor", material="floorplane", **plane)
        for name, (centre, half_width) in self.walls.items():
            place: Attributes = {"pos": centre, "quat": WALL_STANDS[name], "size": (half_width, 1.5, 0.01)}
            add(world, "geom", name=f"wall_{name}_visual", type="box", material="walls_mat", **place, **SEEN_ONLY)
        assets = AssetWriter(asset, self.style, "../textures")
        if self.plain_table:
            _plain_table(world)
        for body in self.bodies:
            write_body(world, body, assets)
        for shape in self.background:
            write_skin(world, shape, assets)
        _lights(world, self.lamp)
        for name, (pos, quat) in CAMERAS.items():
            add(world, "camera", name=name, mode="fixed", pos=pos, quat=quat)
        return to_text(root)


def arenas() -> list[Arena]:
    """The arenas that the 130 tasks use."""
    return [
        Arena("tabletop_base", HALL, plain_table=True),
        Arena("floor_base", HALL, floor_body=True),
        Arena("kitchen_tabletop_base", KITCHEN, (0.8, 0.3), plain_table=True, background=_kitchen(), lamp=True),
        Arena(
            "living_room_tabletop_base", HALL, (0.9, 0.2), floor_body=True, bodies=(_low_table(),), background=_sofa()
        ),
        Arena("study_base", HALL, bodies=(_desk(),), background=_study()),
    ]


def _arena_assets(asset: ET.Element, wall_specular: float, wall_shininess: float) -> None:
    colours: Attributes = {"rgb1": (0.9, 0.9, 1), "rgb2": (0.2, 0.3, 0.4)}
    add(asset, "texture", type="skybox", builtin="gradient", width=256, height=256, **colours)
    for name, kind, stem in (
        ("texplane", "2d", "tile_grigia_caldera_porcelain_floor"),
        ("tex-wall", "2d", "smooth_light_gray_plaster"),
        ("tex-table", "cube", "martin_novak_wood_table"),
    ):
        add(asset, "texture", name=name, type=kind, file=f"../textures/{stem}.png")
    for name, texture, repeat, specular, shininess in (
        ("floorplane", "texplane", 3, 0.0, 0.0),
        ("walls_mat", "tex-wall", 3, wall_specular, wall_shininess),
        ("table_texture", "tex-table", 1, 0.2, 0.0),
        ("table_legs", "tex-table", 1, 0.5, 0.8),
    ):
        wrap: Attributes = {
            "texture": texture,
            "texrepeat": (repeat, repeat),
            "texuniform": "true" if repeat > 1 else "false",
        }
        add(asset, "material", name=name, specular=specular, shininess=shininess, **wrap)


def _plain_table(world: ET.Element) -> None:
    """The table whose size and legs LIBERO's table arenas set; the numbers here are replaced."""
    table = add(world, "body", name="table", pos=(0, 0, 0.4))
    half = (0.4, 0.4, 0.4)
    add(table, "geom", name="table_collision", type="box", size=half, group=0, friction=Surface().friction)
    add(table, "geom", name="table_visual", type="box", size=half, material="table_texture", **SEEN_ONLY)
    add(table, "site", name="table_top", pos=(0, 0, 0.4), size=0.001, rgba=(0, 0, 0, 0))
    for leg in range(1, 5):
        look: Attributes = {"size": (0.05, 0.1), "material": "table_legs"}
        add(table, "geom", name=f"table_leg{leg}_visual", type="cylinder", **look, **SEEN_ONLY)


def _lights(world: ET.Element, lamp: bool) -> None:
    def light(name: str, pos: Vec, direction: Vec, specular: float, directional: str) -> None:
        colour: Attributes = {"diffuse": (0.8, 0.8, 0.8), "specular": (specular,) * 3, "castshadow": "false"}
        add(world, "light", name=name, pos=pos, dir=direction, directional=directional, **colour)

    if lamp:
        light("light_kitchen", (-1.75, 0, 1.6), (0, 0, -1), 0.8, "true")
    light("light1", (1, 1, 4), (0, -0.15, -1), 0.3, "false")
    light("light2", (-3, -3, 4), (0, -0.15, -1), 0.3, "false")


def _low_table() -> Body:
    """The living room's coffee table: a round-ended top at 0.437 m on a closed foot."""
    top = [
        box((-0.1976, 0.0, 0.4249), (0.6717, 0.4443, 0.0118)),
        box((0.5494, 0.0, 0.4249), (0.1013, 0.4168, 0.0118)),
        box((-0.9701, 0.0, 0.4249), (0.1013, 0.4168, 0.0118)),
        box((-0.1976, -0.5112, 0.4249), (0.6717, 0.0775, 0.0118)),
        box((-0.1976, 0.4967, 0.4249), (0.6717, 0.0775, 0.0118)),
    ]
    foot = box((0.0, 0.0, 0.2041), (0.4352, 0.4116, 0.2088))
    ellipse = ((0.413, 0.0), (0.413, 0.90, 0.60), (0.4367, 0.90, 0.60), (0.4367, 0.0))
    slab = loft(ellipse, FURNITURE_WOOD, (-0.21, 0.0, 0.0), 48)
    child = Body(
        "living_room_table_col",
        (-0.25, 0.25, 0.0),
        (0.7071068, 0.0, 0.0, 0.7071068),
        solid=(*top, foot),
        skin=(slab, foot.painted(FURNITURE_WOOD)),
        surface=GRIPPY,
    )
    return Body("living_room_table", children=(child,))


def _desk() -> Body:
    """The study's desk: top at 0.885 m, four legs."""
    top = box((0.0, 0.0, 0.8493), (0.6895, 1.3927, 0.0358))
    legs = [
        box((x, y, 0.3943), (0.0200, 0.0503, 0.3941))
        for x, y in ((-0.5005, -0.6906), (0.4962, -0.6906), (0.4962, 0.7097), (-0.5005, 0.7147))
    ]
    rails = [box((-0.0049, y, 0.0253), (0.5126, 0.0503, 0.0200)) for y in (-0.6977, 0.7147)]
    solid = (top, *legs, *rails)
    return Body("study_table", solid=solid, skin=tuple(painted(solid, DESK_WOOD)), surface=GRIPPY)


def _kitchen() -> tuple[Shape, ...]:
    """A fridge in the corner behind the robot."""
    return (span((-1.97, -2.84, 0.0), (-1.53, -1.97, 1.77), Paint((0.62, 0.63, 0.65), "brushed_metal")),)


def _sofa() -> tuple[Shape, ...]:
    """A wall unit and a picture in the living room."""
    dark, frame = Paint((0.30, 0.22, 0.17), "wood_dark"), Paint((0.75, 0.68, 0.55))
    return (
        span((-1.95, -1.30, 0.0), (-1.60, 0.10, 0.45), dark),
        span((-1.99, 0.15, 0.96), (-1.95, 1.01, 1.97), frame),
        span((-1.95, 0.23, 1.04), (-1.94, 0.93, 1.89), Paint((0.35, 0.48, 0.55))),
    )


def _study() -> tuple[Shape, ...]:
    """A picture, a shelf with two books and a potted plant."""
    shelf, leaf = Paint((0.85, 0.84, 0.82)), Paint((0.20, 0.38, 0.12))
    boards = [span((-1.87, -1.61, z), (-1.56, -0.38, z + 0.03), shelf) for z in (0.0, 0.44, 0.87, 1.31, 1.76)]
    sides = [span((-1.87, y, 0.0), (-1.56, y + 0.03, 1.79), shelf) for y in (-1.61, -0.41)]
    books = [span((-1.82, y, 0.90), (-1.62, y + 0.05, 1.14), Paint((0.03, 0.03, 0.03))) for y in (-0.53, -0.48)]
    stems = [
        Shape("capsule", (0.012, 0.42), (-1.82 + dx, 0.57 + dy, 0.75), (0.995, 0.5 * dy, -0.5 * dx, 0.0), leaf)
        for dx, dy in ((0.0, 0.0), (0.05, 0.08), (-0.04, -0.09))
    ]
    blade = (0.16, 0.035, 0.012)
    leaves = [
        Shape("ellipsoid", blade, (-1.82 + 0.1 * c, 0.57 + 0.14 * s, z), (0.9, 0.1 * s, 0.2, 0.4 * c), leaf)
        for c, s, z in (
            (1, 0.2, 0.80), (-0.8, 0.8, 0.88), (0.3, -1, 0.94), (0.9, 0.9, 1.0), (-0.6, -0.8, 1.06), (0.1, 1, 1.14),
            (0.8, -0.6, 1.19), (-0.5, 0.3, 1.24),
        )
    ]  # fmt: skip
    return (
        span((-1.95, 0.01, 1.0), (-1.93, 0.98, 1.98), Paint((0.10, 0.10, 0.10))),
        span((-1.93, 0.08, 1.07), (-1.92, 0.91, 1.91), Paint((0.62, 0.64, 0.62))),
        *boards,
        *sides,
        *books,
        Shape("cylinder", (0.14, 0.16), (-1.82, 0.57, 0.16), paint=Paint((0.80, 0.80, 0.80))),
        *stems,
        *leaves,
    )
