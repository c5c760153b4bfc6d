"""Builders of shapes: tilted boards, many-sided prisms, rings of boards, and surfaces lofted along z."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np

from sim.libero.procedural.mjcf import UPRIGHT, Mesh, Paint, Shape, Vec

Z_TO_Y: Vec = (float(np.sqrt(0.5)), -float(np.sqrt(0.5)), 0.0, 0.0)
"""Lays what was built along z along the body's y: half of LIBERO's packages have y as their height."""


Z_TO_X: Vec = (float(np.sqrt(0.5)), 0.0, float(np.sqrt(0.5)), 0.0)


def box(centre: Vec, half: Vec, paint: Paint | None = None) -> Shape:
    return Shape("box", half, centre, paint=paint)


def span(low: Vec, high: Vec, paint: Paint | None = None) -> Shape:
    """The box from corner `low` to corner `high`."""
    a, b = np.asarray(low), np.asarray(high)
    return box(_vec((a + b) / 2), _vec((b - a) / 2), paint)


def beam(start: Vec, end: Vec, across: Vec, half_across: float, half_thick: float) -> Shape:
    """A board whose middle line runs from `start` to `end`; `across` is the direction of `half_across`."""
    a, b = np.asarray(start, dtype=float), np.asarray(end, dtype=float)
    length = float(np.linalg.norm(b - a))
    x = (b - a) / length
    y = np.asarray(across, dtype=float) - x * np.dot(across, x)
    y /= np.linalg.norm(y)
    quat = _quat(np.stack([x, y, np.cross(x, y)], axis=1))
    return Shape("box", (length / 2, half_across, half_thick), _vec((a + b) / 2), quat)


def polyline(points: Sequence[Vec], across: Vec, half_across: float, half_thick: float) -> list[Shape]:
    """Boards along a line of points: a handle."""
    return [beam(start, end, across, half_across, half_thick) for start, end in pairwise(points)]


def prism(centre: Vec, apothem: float, half_height: float, sides: int) -> list[Shape]:
    """A regular prism about z with an even number of sides, as crossed boxes."""
    width = apothem * float(np.tan(np.pi / sides))
    size = (apothem, width, half_height)
    return [Shape("box", size, centre, _about_z(2 * np.pi * k / sides)) for k in range(sides // 2)]


def ring(
    centre: Vec,
    low: Vec,
    high: Vec,
    half_thick: float,
    directions: Iterable[float],
    half_width: float,
    twist: float = 0.0,
) -> list[Shape]:
    """A wall around z as boards in `directions` (rad), from (radius, z) = `low` to `high`: the side of a mug.

    `twist` (rad): how far each board is turned about its middle line, as the blades of a propeller are.
    """
    (r0, z0), (r1, z1) = low, high
    boards = []
    for angle in directions:
        out = np.array([np.cos(angle), np.sin(angle), 0.0])
        along = np.array([-out[1], out[0], 0.0])
        start = np.asarray(centre) + out * r0 + [0, 0, z0]
        end = np.asarray(centre) + out * r1 + [0, 0, z1]
        up = np.cross((end - start) / np.linalg.norm(end - start), along)
        across = along * np.cos(twist) + up * np.sin(twist)
        boards.append(beam(_vec(start), _vec(end), _vec(across), half_width, half_thick))
    return boards


def loft(profile: Sequence[Vec], paint: Paint, centre: Vec = (0.0, 0.0, 0.0), sides: int = 28) -> Shape:
    """The closed surface through ellipses (z, half x, half y), bottom first.

    A profile that comes back down inside itself makes a vessel. The ends are closed on the axis.
    """
    knots = np.array([(*knot, knot[1]) if len(knot) == 2 else knot for knot in profile], dtype=float)
    rings = _rings(knots, sides)
    poles = np.array([[0.0, 0.0, knots[0, 0]], [0.0, 0.0, knots[-1, 0]]])
    first, last, top = len(rings), len(rings) + 1, len(rings) - sides
    faces = _walls(len(knots), sides)
    for k in range(sides):
        after = (k + 1) % sides
        faces += [(first, after, k), (last, top + k, top + after)]
    return _mesh_shape(np.concatenate([rings, poles]), faces, paint, centre)


def hoop(inner: float, outer: float, low: float, high: float, paint: Paint, centre: Vec = (0.0, 0.0, 0.0)) -> Shape:
    """A flat ring about z between two radii: a stove's burner has several."""
    knots = np.array([(low, outer, outer), (high, outer, outer), (high, inner, inner), (low, inner, inner)])
    sides = 28
    rings = _rings(knots, sides)
    faces = [tuple(index % len(rings) for index in face) for face in _walls(len(knots) + 1, sides)]
    return _mesh_shape(rings, faces, paint, centre)


def _rings(knots: np.ndarray, sides: int) -> np.ndarray:
    """Points on ellipses (z, half x, half y): (len(knots) * sides, 3)."""
    angles = 2 * np.pi * np.arange(sides) / sides
    return np.concatenate(
        [np.stack([a * np.cos(angles), b * np.sin(angles), np.full(sides, z)], axis=1) for z, a, b in knots]
    )


def _walls(rings: int, sides: int) -> list[tuple[int, ...]]:
    """Triangles between each ring of points and the next."""
    faces: list[tuple[int, ...]] = []
    for base in range(0, (rings - 1) * sides, sides):
        for k in range(sides):
            low, low_after = base + k, base + (k + 1) % sides
            high, high_after = low + sides, low_after + sides
            faces += [(low, low_after, high_after), (low, high_after, high)]
    return faces


def _mesh_shape(vertices: np.ndarray, faces: list[tuple[int, ...]], paint: Paint, centre: Vec) -> Shape:
    mesh = Mesh(tuple(np.round(vertices, 5).ravel().tolist()), tuple(np.array(faces).ravel().tolist()))
    return Shape("mesh", (), centre, paint=paint, mesh=mesh)


def turned(shapes: Iterable[Shape], quat: Vec, centre: Vec = (0.0, 0.0, 0.0)) -> list[Shape]:
    """Shapes rotated about the origin, then moved by `centre`."""
    rotation = _matrix(quat)
    return [
        replace(shape, pos=_vec(rotation @ np.asarray(shape.pos) + centre), quat=_product(quat, shape.quat))
        for shape in shapes
    ]


def painted(shapes: Iterable[Shape], paint: Paint) -> list[Shape]:
    return [shape.painted(paint) for shape in shapes]


def _about_z(angle: float) -> Vec:
    return (float(np.cos(angle / 2)), 0.0, 0.0, float(np.sin(angle / 2)))


def _vec(array: np.ndarray) -> Vec:
    return tuple(float(value) for value in array)


def _product(p: Vec, q: Vec) -> Vec:
    if p == UPRIGHT:
        return q
    (w, x, y, z), (a, b, c, d) = p, q
    return (
        w * a - x * b - y * c - z * d,
        w * b + x * a + y * d - z * c,
        w * c - x * d + y * a + z * b,
        w * d + x * c - y * b + z * a,
    )


def _matrix(quat: Vec) -> np.ndarray:
    w, x, y, z = quat
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


def _quat(matrix: np.ndarray) -> Vec:
    """Quaternion of a rotation matrix, by the largest of the four components (no division by little)."""
    m = matrix
    squares = np.array(
        [
            1 + m[0, 0] + m[1, 1] + m[2, 2],
            1 + m[0, 0] - m[1, 1] - m[2, 2],
            1 - m[0, 0] + m[1, 1] - m[2, 2],
            1 - m[0, 0] - m[1, 1] + m[2, 2],
        ]
    )
    rows = [
        (squares[0], m[2, 1] - m[1, 2], m[0, 2] - m[2, 0], m[1, 0] - m[0, 1]),
        (m[2, 1] - m[1, 2], squares[1], m[0, 1] + m[1, 0], m[0, 2] + m[2, 0]),
        (m[0, 2] - m[2, 0], m[0, 1] + m[1, 0], squares[2], m[1, 2] + m[2, 1]),
        (m[1, 0] - m[0, 1], m[0, 2] + m[2, 0], m[1, 2] + m[2, 1], squares[3]),
    ]
    best = np.array(rows[int(np.argmax(squares.round(6)))], dtype=float)
    return _vec(best / np.linalg.norm(best))
