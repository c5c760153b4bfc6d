"""A small model of an MJCF file: bodies, their solid and visible shapes, sites and joints, written as XML text.

Lengths are metres, masses kilograms, quaternions (w, x, y, z). Solid shapes collide and are hidden (group 0), skin
is seen and never collides (group 1): the two groups that robosuite knows.
"""

import xml.etree.ElementTree as ET
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import numpy as np

Vec = tuple[float, ...]
Attribute = str | float | Iterable[float] | None
Attributes = dict[str, Attribute]
UPRIGHT: Vec = (1.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Paint:
    """What a visible shape looks like: one colour, or a texture of the pack's `textures` folder tinted by it."""

    rgb: Vec
    texture: str | None = None
    gloss: float = 0.2
    alpha: float = 1.0


@dataclass(frozen=True)
class Mesh:
    """A closed surface: vertices (n, 3) and outward triangles (m, 3), flattened."""

    vertices: Vec
    faces: tuple[int, ...]


@dataclass(frozen=True)
class Shape:
    """One primitive in its body's frame; `size` as MuJoCo has it (half lengths; radius then half length)."""

    kind: str
    size: Vec
    pos: Vec = (0.0, 0.0, 0.0)
    quat: Vec = UPRIGHT
    paint: Paint | None = None
    mesh: Mesh | None = None

    def painted(self, paint: Paint) -> "Shape":
        return replace(self, paint=paint)


@dataclass(frozen=True)
class Surface:
    """How solid shapes touch: friction (sliding, torsional, rolling) and MuJoCo's soft contact numbers."""

    friction: Vec = (1.0, 0.005, 0.0001)
    solimp: Vec | None = None
    solref: Vec | None = None
    margin: float = 0.0
    contype: int = 1


GRIPPY = Surface(friction=(0.95, 0.3, 0.1), solimp=(0.998, 0.998, 0.001), solref=(0.001, 1.0))


@dataclass(frozen=True)
class Site:
    """A named place: what BDDL regions ('contain_region', 'top_side') refer to; invisible unless `rgba` says so."""

    name: str
    pos: Vec
    size: Vec
    quat: Vec = UPRIGHT
    kind: str = "box"
    rgba: Vec = (0.8, 0.8, 0.8, 0.0)


@dataclass(frozen=True)
class Joint:
    """One articulation; zero is where LIBERO has it. Range in radians (hinge) or metres (slide)."""

    name: str
    kind: str
    axis: Vec
    range: Vec
    damping: float


@dataclass(frozen=True)
class Inertia:
    """Mass, centre of mass in the body's frame, and the diagonal of the inertia about it (kg m^2)."""

    mass: float
    centre: Vec
    diagonal: Vec


@dataclass(frozen=True)
class Body:
    """A rigid body and what hangs on it."""

    name: str
    pos: Vec = (0.0, 0.0, 0.0)
    quat: Vec = UPRIGHT
    solid: tuple[Shape, ...] = ()
    skin: tuple[Shape, ...] = ()
    surface: Surface = GRIPPY
    inertia: Inertia | None = None
    joint: Joint | None = None
    sites: tuple[Site, ...] = ()
    children: tuple["Body", ...] = ()


@dataclass(frozen=True)
class Model:
    """An object or fixture. `bottom`, `top` (m, along z) and `radius` (m) are LIBERO's placement sites."""

    name: str
    folder: str
    body: Body
    bottom: float
    top: float
    radius: float

    @property
    def path(self) -> str:
        return f"{self.folder}/{self.name}.xml"

    def xml(self) -> str:
        """MJCF text as robosuite's `MujocoXMLObject` reads it: an outer body holding 'object' and three sites."""
        root = new_root(self.name)
        assets = AssetWriter(add(root, "asset"), self.name, "../" * (self.folder.count("/") + 1) + "textures")
        outer = add(add(root, "worldbody"), "body")
        write_body(outer, self.body, assets)
        places = {
            "bottom_site": (0.0, 0.0, self.bottom),
            "top_site": (0.0, 0.0, self.top),
            "horizontal_radius_site": (self.radius, self.radius, 0.0),
        }
        for name, pos in places.items():
            add(outer, "site", name=name, pos=pos, size=0.005, rgba=(0, 0, 0, 0))
        return to_text(root)


@dataclass
class AssetWriter:
    """Collects the materials, textures and meshes that shapes ask for, each written once."""

    node: ET.Element
    prefix: str
    textures: str
    names: dict[object, str] = field(default_factory=dict)

    def material(self, paint: Paint) -> str:
        if paint not in self.names:
            self.names[paint] = name = f"{self.prefix}_paint{len(self.names)}"
            texture = None if paint.texture is None else self._texture(paint.texture)
            colour = (*paint.rgb, paint.alpha)
            add(self.node, "material", name=name, rgba=colour, specular=paint.gloss, shininess=0.5, texture=texture)
        return self.names[paint]

    def mesh(self, mesh: Mesh) -> str:
        if mesh not in self.names:
            self.names[mesh] = name = f"{self.prefix}_mesh{len(self.names)}"
            add(self.node, "mesh", name=name, vertex=mesh.vertices, face=mesh.faces)
        return self.names[mesh]

    def _texture(self, stem: str) -> str:
        if stem not in self.names:
            self.names[stem] = name = f"{self.prefix}_{stem}"
            # A cube texture wraps boxes without being told how; a 2d one smears on their sides.
            add(self.node, "texture", name=name, type="cube", file=f"{self.textures}/{stem}.png")
        return self.names[stem]


def write_body(parent: ET.Element, body: Body, assets: AssetWriter) -> None:
    """Append `body` and all below it to the XML element `parent`."""
    node = add(parent, "body", name=body.name, pos=body.pos, quat=body.quat)
    if (inertia := body.inertia) is not None:
        add(node, "inertial", pos=inertia.centre, mass=inertia.mass, diaginertia=inertia.diagonal)
    if (joint := body.joint) is not None:
        limits: Attributes = {"limited": "true", "range": joint.range, "damping": joint.damping}
        add(node, "joint", name=joint.name, type=joint.kind, axis=joint.axis, **limits)
    for s in body.sites:
        add(node, "site", name=s.name, type=s.kind, pos=s.pos, quat=s.quat, size=s.size, rgba=s.rgba)
    for shape in body.solid:
        write_solid(node, shape, body.surface)
    for shape in body.skin:
        write_skin(node, shape, assets)
    for child in body.children:
        write_body(node, child, assets)


def write_solid(node: ET.Element, shape: Shape, surface: Surface) -> None:
    feel: Attributes = {"friction": surface.friction, "solimp": surface.solimp, "solref": surface.solref}
    feel |= {"margin": surface.margin or None, "contype": None if surface.contype == 1 else surface.contype}
    _geom(node, shape, group=0, rgba=(0.8, 0.8, 0.8, 0.3), **feel)


def write_skin(node: ET.Element, shape: Shape, assets: AssetWriter) -> None:
    if shape.paint is None:
        raise ValueError(f"a visible {shape.kind} has no paint")
    mesh = None if shape.mesh is None else assets.mesh(shape.mesh)
    _geom(node, shape, mesh=mesh, group=1, contype=0, conaffinity=0, material=assets.material(shape.paint))


def _geom(node: ET.Element, shape: Shape, **attributes: Attribute) -> None:
    add(node, "geom", type=shape.kind, pos=shape.pos, quat=shape.quat, size=shape.size or None, **attributes)


def add(parent: ET.Element, tag: str, **attributes: Attribute) -> ET.Element:
    """Append an element. Numbers are written as MJCF has them; what is None is left out."""
    node = ET.SubElement(parent, tag)
    for key, value in attributes.items():
        if isinstance(value, str):
            node.set(key, value)
        elif value is not None:
            node.set(key, text(value if isinstance(value, Iterable) else (value,)))
    return node


def new_root(name: str) -> ET.Element:
    """An empty model whose angles are radians, which robosuite's own compiler setting says again."""
    root = ET.Element("mujoco", model=name)
    add(root, "compiler", angle="radian")
    return root


def text(numbers: Iterable[float]) -> str:
    """Six digits, and no '-0', so that equal models give equal bytes."""
    return " ".join(f"{value + 0.0:.6g}" for value in np.round(np.asarray(tuple(numbers), dtype=float), 12))


def to_text(root: ET.Element) -> str:
    ET.indent(root)
    return ET.tostring(root, encoding="unicode") + "\n"
