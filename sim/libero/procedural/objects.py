"""The kinds of movable objects: which numbers describe one, and which shapes follow from them.

Each kind turns its facts into solid shapes (what grippers, tables and neighbours touch) and skin (what cameras see).
Packages that LIBERO models lying along y say so with `turn`: their numbers are those of the package standing on z.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sim.libero.procedural.mjcf import UPRIGHT, Body, Inertia, Model, Paint, Shape, Site, Vec
from sim.libero.procedural.shapes import Z_TO_X, Z_TO_Y, box, loft, painted, polyline, prism, ring, span, turned

PRINT_DEPTH = 0.00025
"""How far a printed mark stands out of what is below it (m): enough not to flicker, too little to see."""


SEAM, SEEN_SEAM = 0.0029, 0.0134
"""How far a gable's seam stands above its ridge (m): as solid, and as seen."""


@dataclass(frozen=True, kw_only=True)
class Item(ABC):
    """What every object has. `start` is the body's place in its file, `inner` a body between it and its shapes."""

    folder: str
    inertia: Inertia
    bottom: float = -0.06
    top: float = 0.04
    radius: float = 0.025
    sites: tuple[Site, ...] = ()
    start: Vec = (0.0, 0.0, 0.0)
    inner: tuple[str, Vec] | None = None
    turn: Vec = UPRIGHT
    centre: Vec = (0.0, 0.0, 0.0)

    @abstractmethod
    def solid(self) -> list[Shape]:
        """What others collide with."""

    @abstractmethod
    def skin(self) -> list[Shape]:
        """What cameras see."""

    def model(self, name: str) -> Model:
        """The object as LIBERO loads it."""
        solid = tuple(turned(self.solid(), self.turn, self.centre))
        skin = tuple(turned(self.skin(), self.turn))
        if self.inner is None:
            body = Body("object", self.start, UPRIGHT, solid, skin, inertia=self.inertia, sites=self.sites)
        else:
            inner, pos = self.inner
            child = Body(inner, pos, UPRIGHT, solid, skin, inertia=self.inertia, sites=self.sites)
            body = Body("object", self.start, children=(child,))
        return Model(name, f"{self.folder}/{name}", body, self.bottom, self.top, self.radius)


@dataclass(frozen=True)
class Mark:
    """Print on a box: a rectangle or ellipse on a face ('x', '-y', 'z' ...), in units of the face's half sizes."""

    face: str
    centre: Vec
    half: Vec
    paint: Paint
    round: bool = False

    def shape(self, half: Vec, layer: int) -> Shape:
        """The mark on a box of this half size, `layer` marks above the bare face."""
        axis = "xyz".index(self.face[-1])
        depth = PRINT_DEPTH * (layer + 1)
        along = [k for k in range(3) if k != axis]
        pos, size = [0.0, 0.0, 0.0], [depth] * 3
        pos[axis] = -half[axis] if self.face.startswith("-") else half[axis]
        for k, at, reach in zip(along, self.centre, self.half, strict=True):
            pos[k], size[k] = at * half[k], reach * half[k]
        if not self.round:
            return box(tuple(pos), tuple(size), self.paint)
        # Lofts stand on z: lie them on the face, their two radii along the face's two axes.
        x, y, z = size
        quat, a, b = ((Z_TO_X, z, y), (Z_TO_Y, x, z), (UPRIGHT, x, y))[axis]
        disc = loft(((-depth, 0.0), (-depth, a, b), (depth, a, b), (depth, 0.0)), self.paint)
        return turned([disc], quat, tuple(pos))[0]


def printed(marks: Sequence[Mark], half: Vec) -> list[Shape]:
    """Marks on a box, later ones over earlier ones."""
    faces = [mark.face for mark in marks]
    return [mark.shape(half, faces[:k].count(mark.face)) for k, mark in enumerate(marks)]


@dataclass(frozen=True, kw_only=True)
class Carton(Item):
    """A box; with `gable`, a milk carton's slanted roof and upright seam above it (z is up before `turn`)."""

    half: Vec
    seen: Vec
    paint: Paint
    marks: tuple[Mark, ...] = ()
    gable: bool = False
    lift: float = 0.0

    def solid(self) -> list[Shape]:
        shapes = [box((0.0, 0.0, 0.0), self.half)]
        if self.gable:
            shapes += self._roof(self.half, 0.0022, SEAM)
        return shapes

    def skin(self) -> list[Shape]:
        walls = box((0.0, 0.0, 0.0), self.seen, self.paint)
        if not self.gable:
            return [walls, *printed(self.marks, self.seen)]
        half = (*self.seen[:2], self.half[2])
        walls = box((0.0, 0.0, 0.0), half, self.paint)
        roof = painted(self._roof(half, 0.003, SEEN_SEAM), self.paint)
        # Seen from the package's own middle, the walls stand as low as the solid box does.
        return turned([walls, *roof, *printed(self.marks, half)], UPRIGHT, (0.0, 0.0, self.lift))

    @staticmethod
    def _roof(half: Vec, half_thick: float, seam: float) -> list[Shape]:
        x, y, z = half
        ridge = z + 0.0187
        shapes = []
        for side in (-1.0, 1.0):
            eaves, top = (0.0, side * (y - 0.002), z - 0.001), (0.0, side * 0.003, ridge - 0.001)
            shapes += polyline((eaves, top), (1.0, 0.0, 0.0), x, half_thick)
        return [*shapes, span((-x, -0.0035, ridge - 0.0029), (x, 0.0035, ridge + seam))]


@dataclass(frozen=True, kw_only=True)
class Can(Item):
    """A tin on z. `bands`: (from, to, paint) in fractions of the height; the rims stay metal."""

    apothem: float
    half_height: float
    seen_radius: float
    seen_half_height: float
    bands: tuple[tuple[float, float, Paint], ...]
    spots: tuple[tuple[float, float, Paint], ...] = ()

    def solid(self) -> list[Shape]:
        return prism((0.0, 0.0, 0.0), self.apothem, self.half_height, 12)

    def skin(self) -> list[Shape]:
        radius, half = self.seen_radius, self.seen_half_height
        metal = Paint((0.42, 0.43, 0.46), gloss=0.6)
        shapes = [Shape("cylinder", (radius - 0.001, half), paint=metal)]
        for low, high, paint in self.bands:
            middle = half * (low + high - 1.0)
            shapes.append(Shape("cylinder", (radius, half * (high - low)), (0.0, 0.0, middle), paint=paint))
        for height, size, paint in self.spots:
            z = half * (2.0 * height - 1.0)
            for x, y in ((radius, 0.0), (-radius, 0.0), (0.0, radius), (0.0, -radius)):
                reach = (0.002 if x else size, 0.002 if y else size, size * 0.85)
                shapes.append(Shape("ellipsoid", reach, (x * 0.98, y * 0.98, z), paint=paint))
        return shapes


@dataclass(frozen=True)
class Glass:
    """A painted stretch of a bottle: ellipses (z, half x, half y) from low to high."""

    paint: Paint
    profile: tuple[Vec, ...]


@dataclass(frozen=True, kw_only=True)
class Bottle(Item):
    """A bottle on z: `slabs` (low, high, half x, half y), `rounds` (low, high, apothem), and what is seen."""

    slabs: tuple[Vec, ...] = ()
    rounds: tuple[Vec, ...] = ()
    glass: tuple[Glass, ...]
    labels: tuple[tuple[Vec, Vec, Paint], ...] = ()

    def solid(self) -> list[Shape]:
        shapes = [span((-x, -y, low), (x, y, high)) for low, high, x, y in self.slabs]
        for low, high, apothem in self.rounds:
            shapes += prism((0.0, 0.0, (low + high) / 2), apothem, (high - low) / 2, 8)
        return shapes

    def skin(self) -> list[Shape]:
        shapes = []
        for glass in self.glass:
            low, high = glass.profile[0][0], glass.profile[-1][0]
            shapes.append(loft(((low, 0.0), *glass.profile, (high, 0.0)), glass.paint))
        return shapes + [Shape("ellipsoid", half, pos, paint=paint) for pos, half, paint in self.labels]


@dataclass(frozen=True)
class Wall:
    """A ring of boards from (radius, z) `low` to `high`, `overlap` times as wide as it takes `count` to close it.

    `directions` (degrees): where the boards stand if not evenly spaced. What tips over and what stays inside
    something else can depend on which boards touch. `twist` (degrees): how far each is turned about its middle line.
    """

    low: Vec
    high: Vec
    half_thick: float
    count: int
    overlap: float = 1.0
    directions: Vec = ()
    twist: float = 0.0

    def boards(self, centre: Vec) -> list[Shape]:
        """The wall around a vertical axis through `centre`."""
        directions = np.deg2rad(self.directions or np.arange(self.count) * 360 / self.count)
        half_width = self.overlap * max(self.low[0], self.high[0]) * float(np.tan(np.pi / self.count))
        twist = float(np.deg2rad(self.twist))
        return ring(centre, self.low, self.high, self.half_thick, directions, half_width, twist)


@dataclass(frozen=True)
class Handle:
    """Boards along `points`, `half_across` wide sideways."""

    points: tuple[Vec, ...]
    half_across: float
    half_thick: float
    across: Vec = (0.0, 1.0, 0.0)
    paint: Paint | None = None

    def shapes(self) -> list[Shape]:
        return polyline(self.points, self.across, self.half_across, self.half_thick)


@dataclass(frozen=True, kw_only=True)
class Vessel(Item):
    """Something hollow and round about the vertical through `axis`: bowl, plate, ramekin, mug, pan.

    `floor`: (low, high, apothem, sides); `outline`: what is seen of the outside, (z, radius), bottom first.
    """

    axis: Vec = (0.0, 0.0, 0.0)
    floor: tuple[float, float, float, int]
    walls: tuple[Wall, ...]
    outline: tuple[Vec, ...]
    skin_thick: float
    handles: tuple[Handle, ...] = ()
    paint: Paint
    inside: Paint

    def solid(self) -> list[Shape]:
        low, high, apothem, sides = self.floor
        x, y, _ = self.axis
        shapes = prism((x, y, (low + high) / 2), apothem, (high - low) / 2, sides)
        for wall in self.walls:
            shapes += wall.boards(self.axis)
        for handle in self.handles:
            shapes += handle.shapes()
        return shapes

    def skin(self) -> list[Shape]:
        outer, thick = self.outline, self.skin_thick
        inner = [(max(z, self.floor[1]), max(r - thick, 0.001)) for z, r in outer]
        rim = (outer[-1][0], outer[-1][1] - thick)
        shell = loft(((outer[0][0], 0.0), *outer, rim, *inner[-2::-1], (self.floor[1], 0.0)), self.paint, self.axis)
        lining_floor = loft(_disc(self.floor[1], outer, thick), self.inside, self.axis)
        handles = [s for handle in self.handles for s in painted(handle.shapes(), handle.paint or self.paint)]
        return [shell, lining_floor, *handles]


def _disc(height: float, outline: Sequence[Vec], thick: float) -> tuple[Vec, ...]:
    """A thin disc on a vessel's floor, as wide as its inside is there."""
    radius = float(np.interp(height, [z for z, _ in outline], [r for _, r in outline])) - thick
    top = height + PRINT_DEPTH
    return ((height, 0.0), (height, radius), (top, radius), (top, 0.0))


@dataclass(frozen=True, kw_only=True)
class Book(Item):
    """A closed book standing on z, thin along x: two covers, a spine on +y, pages between."""

    half: Vec
    seen_centre: Vec
    seen: Vec
    paint: Paint
    pages: Paint

    def solid(self) -> list[Shape]:
        return [box((0.0, 0.0, 0.0), self.half)]

    def skin(self) -> list[Shape]:
        (cx, cy, cz), (x, y, z), cover = self.seen_centre, self.seen, 0.002
        low, high = (cx - x, cy - y, cz - z), (cx + x, cy + y, cz + z)
        return [
            span((low[0] + cover, low[1] + cover, low[2] + cover), (high[0] - cover, high[1] - cover, high[2] - cover),
                 self.pages),
            span(low, (low[0] + cover, high[1], high[2]), self.paint),
            span((high[0] - cover, low[1], low[2]), high, self.paint),
            span((low[0], high[1] - cover, low[2]), high, self.paint),
        ]  # fmt: skip


@dataclass(frozen=True)
class Boards:
    """Boards of one paint: axis-aligned ones from corner to corner, and beams (start, end, half across, half thick)."""

    paint: Paint
    spans: tuple[tuple[Vec, Vec], ...] = ()
    beams: tuple[tuple[Vec, Vec, float, float], ...] = ()
    across: Vec = (1.0, 0.0, 0.0)

    def shapes(self) -> list[Shape]:
        beams = [s for a, b, wide, thick in self.beams for s in polyline((a, b), self.across, wide, thick)]
        return [*(span(low, high) for low, high in self.spans), *beams]


@dataclass(frozen=True, kw_only=True)
class Joinery(Item):
    """Something nailed together from boards: basket, caddy, tray, shelf, rack; `trim` is seen but not felt."""

    boards: tuple[Boards, ...]
    trim: Boards | None = None

    def solid(self) -> list[Shape]:
        return [shape for group in self.boards for shape in group.shapes()]

    def skin(self) -> list[Shape]:
        seen = (*self.boards, self.trim) if self.trim is not None else self.boards
        return [shape for group in seen for shape in painted(group.shapes(), group.paint)]


@dataclass(frozen=True, kw_only=True)
class MokaPot(Item):
    """An eight-sided pot about z: body, spout boxes, a handle and a knob on the lid."""

    apothem: float
    half_height: float
    spout: tuple[tuple[Vec, Vec], ...]
    handle: Handle
    knob: tuple[Vec, Vec]
    outline: tuple[Vec, ...]
    paint: Paint

    def solid(self) -> list[Shape]:
        # An eighth of a turn over two: the pot's edges, not its faces, point along x and y.
        shapes = turned(prism((0.0, 0.0, 0.0), self.apothem, self.half_height, 8), (0.980785, 0.0, 0.0, 0.19509))
        return [*shapes, *(span(a, b) for a, b in (*self.spout, self.knob)), *self.handle.shapes()]

    def skin(self) -> list[Shape]:
        dark = self.handle.paint or self.paint
        profile = ((self.outline[0][0], 0.0), *self.outline, (self.outline[-1][0], 0.0))
        pot = loft(profile, self.paint, sides=8)
        spouts = [span(a, b, self.paint) for a, b in self.spout]
        return [pot, *spouts, *painted(self.handle.shapes(), dark), span(*self.knob, dark)]
