"""A small model of an MJCF file: bodies, their solid and visible shapes, sites and joints, written as XML text.

Lengths are metres, masses kilograms, quaternions (w, x, y, z). Solid shapes collide and are hidden (group 0), skin
is seen and never collides (group 1): the two groups that robosuite knows.
"""

import xml.etree.ElementTree as ET
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import numpy as np

Vec = tuple[float, ...]
UPRIGHT: Vec = (1.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Paint:
    """What a visible shape looks like: one colour, or a texture of the pack's `textures` folder tinted by it."""

    rgb: Vec
    texture: str | None = None
    repeat: float = 1.0
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
    name: str | None = None

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
        assets = AssetWriter(ET.SubElement(root, "asset"), self.name, "../" * (self.folder.count("/") + 1) + "textures")
        outer = ET.SubElement(ET.SubElement(root, "worldbody"), "body")
        write_body(outer, self.body, assets)
        places = {
            "bottom_site": (0.0, 0.0, self.bottom),
            "top_site": (0.0, 0.0, self.top),
            "horizontal_radius_site": (self.radius, self.radius, 0.0),
        }
        for name, pos in places.items():
            ET.SubElement(outer, "site", name=name, pos=text(pos), size="0.005", rgba="0 0 0 0")
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
            gloss = {"specular": text((paint.gloss,)), "shininess": "0.5"}
            material = ET.Element("material", name=name, rgba=text((*paint.rgb, paint.alpha)), **gloss)
            if paint.texture is not None:
                material.set("texture", self._texture(paint.texture))
                material.set("texrepeat", text((paint.repeat, paint.repeat)))
            self.node.append(material)
        return self.names[paint]

    def mesh(self, mesh: Mesh) -> str:
        if mesh not in self.names:
            self.names[mesh] = name = f"{self.prefix}_mesh{len(self.names)}"
            faces = " ".join(map(str, mesh.faces))
            ET.SubElement(self.node, "mesh", name=name, vertex=text(mesh.vertices), face=faces)
        return self.names[mesh]

    def _texture(self, stem: str) -> str:
        if stem not in self.names:
            self.names[stem] = name = f"{self.prefix}_{stem}"
            # A cube texture wraps boxes without being told how; a 2d one smears on their sides.
            ET.SubElement(self.node, "texture", name=name, type="cube", file=f"{self.textures}/{stem}.png")
        return self.names[stem]


def new_root(name: str) -> ET.Element:
    """An empty model whose angles are radians, which robosuite's own compiler setting says again."""
    root = ET.Element("mujoco", model=name)
    ET.SubElement(root, "compiler", angle="radian")
    return root


def write_body(parent: ET.Element, body: Body, assets: AssetWriter) -> None:
    """Append `body` and all below it to the XML element `parent`."""
    node = ET.SubElement(parent, "body", name=body.name, pos=text(body.pos), quat=text(body.quat))
    if body.inertia is not None:
        inertia = body.inertia
        numbers = {"mass": text((inertia.mass,)), "diaginertia": text(inertia.diagonal)}
        ET.SubElement(node, "inertial", pos=text(inertia.centre), **numbers)
    if body.joint is not None:
        joint = body.joint
        limits = {"range": text(joint.range), "limited": "true", "damping": text((joint.damping,))}
        ET.SubElement(node, "joint", name=joint.name, type=joint.kind, axis=text(joint.axis), **limits)
    for site in body.sites:
        place = {"pos": text(site.pos), "quat": text(site.quat), "size": text(site.size), "rgba": text(site.rgba)}
        ET.SubElement(node, "site", name=site.name, type=site.kind, **place)
    for shape in body.solid:
        write_solid(node, shape, body.surface)
    for shape in body.skin:
        write_skin(node, shape, assets)
    for child in body.children:
        write_body(node, child, assets)


def write_solid(node: ET.Element, shape: Shape, surface: Surface) -> None:
    geom = _geom(node, shape)
    geom.set("group", "0")
    geom.set("rgba", "0.8 0.8 0.8 0.3")
    geom.set("friction", text(surface.friction))
    if surface.solimp is not None:
        geom.set("solimp", text(surface.solimp))
    if surface.solref is not None:
        geom.set("solref", text(surface.solref))
    if surface.margin:
        geom.set("margin", text((surface.margin,)))
    if surface.contype != 1:
        geom.set("contype", str(surface.contype))


def write_skin(node: ET.Element, shape: Shape, assets: AssetWriter) -> None:
    if shape.paint is None:
        raise ValueError(f"a visible {shape.kind} has no paint")
    geom = _geom(node, shape)
    if shape.mesh is not None:
        geom.set("mesh", assets.mesh(shape.mesh))
    for key, value in {"group": "1", "contype": "0", "conaffinity": "0"}.items():
        geom.set(key, value)
    geom.set("material", assets.material(shape.paint))


def _geom(node: ET.Element, shape: Shape) -> ET.Element:
    geom = ET.SubElement(node, "geom", type=shape.kind, pos=text(shape.pos), quat=text(shape.quat))
    if shape.name is not None:
        geom.set("name", shape.name)
    if shape.size:
        geom.set("size", text(shape.size))
    return geom


def text(numbers: Iterable[float]) -> str:
    """Numbers as MJCF attributes have them; six digits, and no '-0', so that equal models give equal bytes."""
    return " ".join(f"{value + 0.0:.6g}" for value in np.round(np.asarray(tuple(numbers), dtype=float), 12))


def to_text(root: ET.Element) -> str:
    ET.indent(root)
    return ET.tostring(root, encoding="unicode") + "\n"
