"""Textures painted by code: a base colour with speckle, wood grain, tiles, planks or marble veins.

Every texture draws from its own seeded stream, named after it, so that the pack is the same on every machine.
"""

import struct
import zlib
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

SIZE = 128


@dataclass(frozen=True)
class Look:
    """Mean colour (0 to 255), what kind of surface, and how strong its pattern is (standard deviation, 0 to 255)."""

    rgb: tuple[int, int, int]
    kind: str = "plaster"
    contrast: float = 4.0
    pieces: int = 1


# Names are those that LIBERO's scenes and styles ask for; mean colours are measured.
LOOKS: dict[str, Look] = {
    "brown_ceramic_tile": Look((177, 152, 131), "tiles", 9, 2),
    "ceramic": Look((249, 248, 243), "plaster", 3),
    "dark_blue_wall": Look((102, 145, 171), "plaster", 8),
    "dark_floor_texture": Look((57, 53, 47), "planks", 6, 4),
    "dark_gray_plaster": Look((97, 106, 113), "plaster", 5),
    "dark_green_plaster_wall": Look((50, 80, 60), "plaster", 2),
    "gray_ceramic_tile": Look((186, 171, 155), "tiles", 10, 2),
    "gray_plaster": Look((236, 238, 235), "plaster", 6),
    "light-gray-floor-tile": Look((195, 186, 177), "boards", 10, 2),
    "light-gray-plaster": Look((223, 219, 212), "plaster", 3),
    "light_blue_wall": Look((186, 225, 244), "plaster", 4),
    "martin_novak_wood_table": Look((198, 180, 162), "wood", 3),
    "rustic_floor": Look((162, 162, 157), "planks", 16, 4),
    "seamless_wood_planks_floor": Look((233, 200, 137), "planks", 9, 4),
    "smooth_light_gray_plaster": Look((223, 219, 212), "plaster", 3),
    "tile_grigia_caldera_porcelain_floor": Look((195, 186, 177), "tiles", 10, 2),
    "white_marble_floor": Look((233, 233, 233), "marble", 9),
    "white_wall": Look((234, 236, 233), "plaster", 3),
    "yellow_linen_wall_texture": Look((220, 213, 180), "linen", 8),
    # Light patterns that an object's paint tints.
    "wood_light": Look((238, 232, 224), "wood", 12),
    "wood_dark": Look((225, 218, 212), "wood", 22),
    "wood_white": Look((240, 240, 240), "wood", 6),
    "wood_planks": Look((236, 230, 222), "planks", 12, 6),
    "brushed_metal": Look((225, 225, 228), "linen", 4),
}


def write_textures(folder: Path) -> None:
    """Paint every texture of LOOKS into `folder` as PNG."""
    folder.mkdir(parents=True)
    for name, look in sorted(LOOKS.items()):
        (folder / f"{name}.png").write_bytes(png(paint(name, look)))


def paint(name: str, look: Look) -> np.ndarray:
    """One texture, (SIZE, SIZE, 3) uint8, seamless at its edges up to the grout."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    wave = PATTERNS[look.kind](rng, look.pieces)
    wave = (wave - wave.mean()) / max(float(wave.std()), 1e-6) * look.contrast
    return np.clip(np.round(np.asarray(look.rgb) + wave[..., None]), 0, 255).astype(np.uint8)


def _speckle(rng: np.random.Generator, _: int) -> np.ndarray:
    return _smooth(rng.normal(size=(SIZE, SIZE)), 1.5, 1.5)


def _wood(rng: np.random.Generator, _: int) -> np.ndarray:
    grain = _smooth(rng.normal(size=(SIZE, SIZE)), 0.8, 14.0)
    return grain / grain.std() + 0.5 * _unit(_smooth(rng.normal(size=(SIZE, SIZE)), 8.0, 48.0))


def _linen(rng: np.random.Generator, _: int) -> np.ndarray:
    noise = rng.normal(size=(2, SIZE, SIZE))
    return _unit(_smooth(noise[0], 0.6, 10.0)) + _unit(_smooth(noise[1], 10.0, 0.6))


def _marble(rng: np.random.Generator, _: int) -> np.ndarray:
    clouds = _unit(_smooth(rng.normal(size=(SIZE, SIZE)), 10.0, 10.0))
    return -np.exp(-8.0 * np.abs(clouds)) + 0.3 * clouds


def _tiles(rng: np.random.Generator, pieces: int) -> np.ndarray:
    shades = np.kron(rng.normal(size=(pieces, pieces)), np.ones((SIZE // pieces,) * 2))
    grout = np.arange(SIZE) % (SIZE // pieces) < 2
    surface = 0.5 * _unit(_speckle(rng, 1)) + 0.6 * shades
    surface[grout, :] = 2.5
    surface[:, grout] = 2.5
    return surface


def _planks(rng: np.random.Generator, pieces: int) -> np.ndarray:
    """Boards along the image's rows, each of its own shade, dark in the joints."""
    edges = np.linspace(0, SIZE, pieces + 1).round().astype(int)
    surface = 0.6 * _unit(_wood(rng, 1))
    for low, high in pairwise(edges.tolist()):
        surface[low:high] += 0.8 * rng.normal()
        surface[low : low + 2] -= 2.0
    return surface


def _boards(rng: np.random.Generator, pieces: int) -> np.ndarray:
    """Planks across the image's columns with light seams, their ends staggered."""
    width = SIZE // pieces
    surface = 0.7 * _unit(_wood(rng, 1)).T
    for k in range(pieces):
        strip = surface[:, k * width : (k + 1) * width]
        end = SIZE * k // pieces
        strip[:end] += 0.6 * rng.normal()
        strip[end : end + 2] = 3.0
        strip[:, :2] = 3.0
    return surface


def _smooth(noise: np.ndarray, rows: float, columns: float) -> np.ndarray:
    """Periodic Gaussian blur with the given standard deviations in pixels."""
    fy, fx = np.fft.fftfreq(SIZE)[:, None], np.fft.fftfreq(SIZE)[None, :]
    window = np.exp(-2 * (np.pi**2) * ((fy * rows) ** 2 + (fx * columns) ** 2))
    return np.fft.ifft2(np.fft.fft2(noise) * window).real


PATTERNS = {
    "plaster": _speckle,
    "wood": _wood,
    "tiles": _tiles,
    "planks": _planks,
    "boards": _boards,
    "marble": _marble,
    "linen": _linen,
}


def _unit(field: np.ndarray) -> np.ndarray:
    return (field - field.mean()) / field.std()


def png(image: np.ndarray) -> bytes:
    """A PNG file of an RGB image (h, w, 3) uint8."""
    height, width, _ = image.shape
    rows = np.concatenate([np.zeros((height, 1), np.uint8), image.reshape(height, -1)], axis=1)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows.tobytes(), 9)), (b"IEND", b""))
    body = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + body
