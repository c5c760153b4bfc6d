"""Builds the pack into a folder named by the content of what builds it, once, atomically."""

import hashlib
import os
import shutil
import tempfile
from pathlib import Path

from sim.libero import benchmark
from sim.libero.procedural.arenas import arenas
from sim.libero.procedural.fixtures import fixtures
from sim.libero.procedural.groceries import GROCERIES
from sim.libero.procedural.household import HOUSEHOLD
from sim.libero.procedural.mjcf import Model
from sim.libero.procedural.textures import write_textures

MARKER = "PROCEDURAL_PACK.txt"
"""A file of every pack, by which it is known wherever it lies. It is no asset: digests of assets leave it out."""
_MARKER_TEXT = (
    "Models for LIBERO from primitive shapes, made by 'python -m sim.assets build'.\n"
    "Success rates in them are not comparable with published ones.\n"
)


def build(cache_dir: Path | None = None) -> Path:
    """The pack's folder, built if it is not there yet.

    Args:
        cache_dir: where packs are kept; by default `procedural` in this project's cache folder.

    Returns:
        A folder laid out like LIBERO's own `assets`. Its name is the digest of this package's sources, so a changed
        fact makes a new folder and an old pack is never read by mistake.
    """
    cache = cache_dir if cache_dir is not None else benchmark.cache_folder() / "procedural"
    target = cache / digest()
    if target.is_dir():
        return target
    cache.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix="building-", dir=cache))
    try:
        write(work)
        work.chmod(0o755)
        os.rename(work, target)
    except OSError:
        if not target.is_dir():  # else another process finished first, with the same bytes
            raise
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return target


def write(folder: Path) -> None:
    """Write every file of the pack into an empty folder."""
    (folder / MARKER).write_text(_MARKER_TEXT)
    write_textures(folder / "textures")
    files = {model.path: model.xml() for model in models()} | {arena.path: arena.xml() for arena in arenas()}
    for name, xml in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(xml, encoding="utf-8")


def models() -> list[Model]:
    """Every object and fixture of the pack."""
    return [item.model(name) for name, item in (GROCERIES | HOUSEHOLD).items()] + fixtures()


def digest() -> str:
    """SHA-256 of this package's sources, first 16 hex digits."""
    total = hashlib.sha256()
    for source in sorted(Path(__file__).parent.glob("*.py")):
        total.update(source.name.encode() + b"\0" + source.read_bytes())
    return total.hexdigest()[:16]
