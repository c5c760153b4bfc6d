"""Fixtures that move in part: two drawer cabinets, a microwave with a door, a stove with a knob.

Joint names, axes, ranges and zero positions are LIBERO's: a drawer at 0 is shut and at -0.16 open, the door opens
towards -2.094, the knob is off at 0.
"""

from dataclasses import dataclass

from sim.libero.procedural.mjcf import GRIPPY, UPRIGHT, Body, Inertia, Joint, Model, Paint, Shape, Site, Surface, Vec
from sim.libero.procedural.shapes import box, hoop, painted, prism, span

FOLDER = "articulated_objects"
METAL, STEEL = Paint((0.55, 0.56, 0.58), gloss=0.6), Paint((0.62, 0.62, 0.63), "brushed_metal", gloss=0.5)
STAND_ON_X: Vec = (0.7071068, 0.0, 0.7071068, 0.0)
HEAVY = Inertia(3.0, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
"""Drawers and the knob carry this mass whatever they are made of: it is what LIBERO gives them."""


@dataclass(frozen=True)
class Drawer:
    """One drawer: its level's name, and the heights of its floor, front, sides, handle and region site (m)."""

    level: str
    floor: float
    front: float
    sides: float
    handle: float
    region: float


DRAWERS = (
    Drawer("top", 0.1551, 0.1831, 0.1836, 0.1839, 0.18563),
    Drawer("middle", 0.0854, 0.1134, 0.1139, 0.1104, 0.11690),
    Drawer("bottom", 0.0168, 0.0448, 0.0452, 0.0411, 0.04701),
)


def cabinet(name: str, wood: Paint, inside: Paint) -> Model:
    """A chest of three drawers that open towards -y; its own top carries things ('top_side')."""
    shell = [
        box((0.0040, 0.0163, 0.0069), (0.1229, 0.0898, 0.0023)),
        box((-0.1122, 0.0163, 0.1143), (0.0052, 0.0954, 0.1058)),
        box((0.1190, 0.0163, 0.1143), (0.0052, 0.0954, 0.1058)),
        box((0.0021, 0.1094, 0.1143), (0.1191, 0.0023, 0.1058)),
        box((0.0039, 0.0158, 0.2216), (0.1273, 0.0941, 0.0014)),
        *(box((0.0039, 0.0187, height), (0.1118, 0.0896, 0.0011)) for height in (0.0093, 0.0793, 0.1494)),
    ]
    base = Body(
        "base",
        solid=tuple(shell),
        skin=tuple(painted(shell, wood)),
        inertia=Inertia(0.1762, (0.0035, 0.0383, 0.1078), (0.0022, 0.0025, 0.0016)),
        sites=(Site("top_side", (0.00354, 0.01567, 0.22152), (0.12534, 0.09438, 0.00147)),),
        children=tuple(_drawer(drawer, wood, inside) for drawer in DRAWERS),
    )
    return Model(name, FOLDER, Body("object", children=(base,)), -0.045, 0.045, 0.045)


def _drawer(drawer: Drawer, wood: Paint, inside: Paint) -> Body:
    front = box((0.0033, -0.0752, drawer.front), (0.1093, 0.0027, 0.0343))
    tray = [
        box((0.0033, -0.0684, drawer.sides), (0.1068, 0.0036, 0.0321)),
        box((0.0033, 0.0908, drawer.sides), (0.1068, 0.0036, 0.0321)),
        box((-0.1019, 0.0111, drawer.sides), (0.0027, 0.0815, 0.0316)),
        box((0.1089, 0.0111, drawer.sides), (0.0027, 0.0815, 0.0313)),
        box((0.0035, 0.0105, drawer.floor), (0.1070, 0.0810, 0.0040)),
    ]
    handle = [
        box((-0.0028, -0.1016, drawer.handle), (0.0445, 0.0077, 0.0082)),
        box((0.0292, -0.0835, drawer.handle), (0.0051, 0.0106, 0.0055)),
        box((-0.0356, -0.0835, drawer.handle), (0.0051, 0.0106, 0.0056)),
    ]
    # The bar is seen thinner than it is felt, as in the published model.
    bar = Shape("box", (0.0460, 0.0045, 0.0060), (-0.0028, -0.1055, drawer.handle))
    return Body(
        f"cabinet_{drawer.level}",
        solid=(front, *tray, *handle),
        skin=(front.painted(wood), *painted(tray, inside), *painted([bar, *handle[1:]], METAL)),
        inertia=HEAVY,
        joint=Joint(f"{drawer.level}_level", "slide", (0.0, 1.0, 0.0), (-0.16, 0.01), 50.0),
        sites=(
            Site(
                f"{drawer.level}_region",
                (0.00328, 0.01128, drawer.region),
                (0.02993, 0.07561, 0.10224),
                STAND_ON_X,
            ),
        ),
    )


def microwave() -> Model:
    """A box with a cavity that opens to -y and a door hinged at its left front edge."""
    dark, pane = Paint((0.12, 0.12, 0.13), gloss=0.5), Paint((0.30, 0.31, 0.33), gloss=0.8)
    touch = Surface(solimp=(0.8, 0.9, 0.01), solref=(0.02, 1.0), margin=0.001, contype=0)
    walls = [
        box((-0.1580, 0.0115, 0.0935), (0.0145, 0.09955, 0.0935)),
        box((0.1180, 0.0115, 0.0935), (0.0545, 0.09955, 0.0935)),
        box((-0.0405, 0.0955, 0.0935), (0.1035, 0.0150, 0.0935)),
        box((-0.0400, -0.0035, 0.1775), (0.1035, 0.0845, 0.0095)),
        box((-0.0400, -0.0040, 0.0120), (0.1035, 0.0840, 0.0120)),
        box((0.1300, -0.0985, 0.0935), (0.0425, 0.0120, 0.0935)),
    ]
    panel = [
        Shape("cylinder", (0.013, 0.004), (0.1300, -0.1115, z), (0.7071068, 0.7071068, 0, 0), METAL)
        for z in (0.05, 0.09)
    ]
    display = box((0.1300, -0.1108, 0.1400), (0.0280, 0.0012, 0.0120), Paint((0.10, 0.35, 0.20), gloss=0.8))
    lying: Vec = (0.7071068, 0.7071068, 0.0, 0.0)
    handle = [
        Shape("capsule", (0.010, 0.065), (0.2375, -0.054, 0.0)),
        Shape("capsule", (0.010, 0.015), (0.2375, -0.0375, 0.065), lying),
        Shape("capsule", (0.010, 0.015), (0.2375, -0.0375, -0.065), lying),
    ]
    leaf = box((0.1295, -0.0130, 0.0), (0.1295, 0.0120, 0.0925))
    window = box((0.1100, -0.0132, 0.0), (0.0800, 0.0124, 0.0560), pane)
    door = Body(
        "microdoorroot",
        (-0.1725, -0.0880, 0.0960),
        solid=(*handle, leaf),
        skin=(leaf.painted(dark), window, *painted(handle, Paint((0.78, 0.78, 0.80), gloss=0.8))),
        surface=touch,
        inertia=DOOR_INERTIA,
        joint=Joint("microjoint", "hinge", (0.0, 0.0, 1.0), (-2.094, 0.0), 0.5),
    )
    body = Body(
        "object",
        solid=tuple(walls),
        skin=(*painted(walls, dark), *panel, display),
        surface=touch,
        inertia=Inertia(3.0, (-0.0051, 0.0021, 0.0939), (0.0251, 0.0517, 0.0521)),
        sites=(
            Site("top_side", (0.0, 0.01, 0.20), (0.12, 0.0835, 0.005)),
            Site("heating_region", (0.0, 0.01, 0.096), (0.12, 0.0835, 0.08)),
        ),
        children=(door,),
    )
    return Model("microwave", FOLDER, body, -0.06, 0.06, 0.015)


DOOR_INERTIA = Inertia(0.26, (0.1544, -0.0199, 0.0), (0.00084, 0.00243, 0.00172))


def stove() -> Model:
    """A flat burner and, beside it, a knob with a bar across. The site 'burner' glows when the stove is on."""
    glaze, coil = Paint((0.84, 0.84, 0.85), "brushed_metal"), Paint((0.25, 0.25, 0.26))
    black = Paint((0.07, 0.07, 0.07))
    plate = box((0.0, 0.0, 0.0), (0.095, 0.095, 0.02))
    cover = box((0.0, 0.0, 0.025), (0.095, 0.095, 0.0005))
    radii = ((0.004, 0.012), (0.020, 0.029), (0.037, 0.046), (0.054, 0.066))
    burner = Body(
        "burner",
        (0.15, 0.0, 0.0),
        solid=(plate, cover),
        skin=(plate.painted(glaze), *(hoop(inner, outer, 0.020, 0.0255, coil) for inner, outer in radii)),
        surface=Surface(),
        inertia=Inertia(1.4801, (0.0, 0.0, 0.0006), (0.0047, 0.0047, 0.0089)),
        sites=(
            Site("cook_region", (0.0, 0.0, 0.0), (0.075, 0.075, 0.0025)),
            Site("burner", (0.0, 0.0, 0.022), (0.0625, 0.0005), kind="cylinder", rgba=(0.9, 0.05, 0.05, 1.0)),
        ),
        children=(Body("burner_plate"),),
    )
    disc: Vec = (0.0013, 0.0045, 0.0066)
    bar = [
        span((-0.0109, -0.0172, 0.0014), (0.0137, 0.0520, 0.0500)),
        span((-0.0110, -0.0278, 0.0039), (0.0134, -0.0122, 0.0449)),
        span((-0.0110, -0.0328, 0.0077), (0.0134, -0.0172, 0.0425)),
        span((-0.0110, -0.0406, 0.0006), (0.0132, -0.0322, 0.0338)),
    ]
    knob = Body(
        "button",
        quat=(0.7071068, 0.0, 0.0, 0.7071068),
        solid=(*prism(disc, 0.0460, 0.0062, 12), *bar),
        skin=(Shape("cylinder", (0.0472, 0.0062), disc, paint=Paint((0.10, 0.10, 0.10))), *painted(bar, black)),
        surface=GRIPPY,
        inertia=HEAVY,
        joint=Joint("button", "hinge", (0.0, 0.0, 1.0), (-0.005, 2.1), 1.0),
    )
    base = Body("base", quat=UPRIGHT, children=(burner, knob))
    return Model("flat_stove", FOLDER, Body("object", children=(base,)), -0.045, 0.045, 0.045)


def fixtures() -> list[Model]:
    return [
        cabinet("wooden_cabinet", Paint((0.20, 0.17, 0.15), "wood_dark"), Paint((0.26, 0.22, 0.19), "wood_dark")),
        cabinet("white_cabinet", Paint((0.86, 0.86, 0.87), "wood_white"), Paint((0.90, 0.90, 0.90))),
        microwave(),
        stove(),
    ]
