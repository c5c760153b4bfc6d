"""Where LIBERO's models (meshes, textures, MJCF) come from, in one order for every command.

1. ``--assets DIR`` or the environment variable ``LIBERO_ASSETS``; ``pack`` is the procedural pack;
2. the ``assets`` folder of the installed LIBERO (a git checkout has one);
3. the hub's ``lerobot/libero-assets``, downloaded on first use and from then on used without asking the hub again;
4. the procedural pack (``sim.libero.procedural``), built on this machine in a second where the hub cannot be reached.

``python -m sim.assets status`` says what a command run now would use and why; ``download`` and ``build`` fetch and
make the last two beforehand.
"""

import hashlib
import logging
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from common.errors import UserError
from common.files import locked, replacing
from sim.libero import benchmark

log = logging.getLogger(__name__)

HUB_DATASET = "lerobot/libero-assets"
HUB_TIMEOUT = 5.0
"""Seconds that the hub has for its first answer."""
REQUIRED = ("scenes", "stable_scanned_objects", "stable_hope_objects", "turbosquid_objects", "articulated_objects")
NOT_COMPARABLE = "scores there are not comparable with published ones"


class AssetsMissing(UserError):
    """No usable folder of LIBERO assets was found."""


@dataclass(frozen=True)
class Assets:
    """A folder of LIBERO assets and how it was found."""

    path: Path
    source: str

    @cached_property
    def digest(self) -> str:
        """SHA-256 over names and contents of all assets, first 16 hex digits: results record it."""
        from sim.libero.procedural.pack import MARKER

        total = hashlib.sha256()
        for file in sorted(path for path in self.path.rglob("*") if path.is_file() and path.name != MARKER):
            total.update(file.relative_to(self.path).as_posix().encode() + b"\0")
            total.update(hashlib.sha256(file.read_bytes()).digest())
        return total.hexdigest()[:16]

    @property
    def procedural(self) -> bool:
        """Whether this is the procedural pack, wherever it lies and however it was named."""
        from sim.libero.procedural.pack import MARKER

        return (self.path / MARKER).is_file()

    def __str__(self) -> str:
        return f"{self.path} ({self.source}{f'; {NOT_COMPARABLE}' if self.procedural else ''})"


def resolve(explicit: str | os.PathLike[str] | None = None) -> Assets:
    """Find LIBERO's assets; download or build them where there are none.

    Raises:
        AssetsMissing: a named folder does not hold them.
    """
    if found := present(explicit):
        return found
    try:
        return download()
    except AssetsMissing as reason:
        log.warning("%s; using the procedural pack instead: %s", reason, NOT_COMPARABLE)
        return build()


def present(explicit: str | os.PathLike[str] | None = None) -> Assets | None:
    """What ``resolve`` finds without downloading or building anything.

    Raises:
        AssetsMissing: a named folder does not hold them.
    """
    return _named(explicit) or _checkout() or _downloaded()


def download() -> Assets:
    """Ask the hub for its assets and fetch what is missing here.

    Raises:
        AssetsMissing: the hub cannot be reached.
    """
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        raise AssetsMissing("cannot download LIBERO's assets: run 'pip install huggingface_hub'") from None
    try:
        root = Path(snapshot_download(HUB_DATASET, repo_type="dataset", etag_timeout=HUB_TIMEOUT))
    except Exception as error:
        raise AssetsMissing(
            f"cannot download LIBERO's assets ({HUB_DATASET}) from the hub ({type(error).__name__})"
        ) from error
    folder = _checked(root / "assets" if (root / "assets").is_dir() else root, f"hub {HUB_DATASET}")
    # Only a finished download is remembered: the hub's own cache does not tell it from an interrupted one.
    with locked(benchmark.cache_folder() / ".lock"), replacing(_remembered()) as temporary:
        temporary.write_text(str(folder))
    return Assets(folder, f"hub {HUB_DATASET}")


def build() -> Assets:
    """Build the procedural pack, unless it is here already."""
    from sim.libero import procedural

    return Assets(procedural.build(_packs()).resolve(), "procedural pack")


def _named(explicit: str | os.PathLike[str] | None) -> Assets | None:
    for source, value in (("--assets", explicit), ("LIBERO_ASSETS", os.environ.get("LIBERO_ASSETS"))):
        if value and str(value) == "pack":
            return build()
        if value:
            return Assets(_checked(Path(value).expanduser().resolve(), source), source)
    return None


def _checkout() -> Assets | None:
    folder = benchmark.package_folder() / "assets"
    return Assets(_checked(folder, "LIBERO checkout"), "LIBERO checkout") if folder.is_dir() else None


def _downloaded() -> Assets | None:
    folder = Path(_remembered().read_text()) if _remembered().is_file() else None
    if folder is None or not folder.is_dir():
        return None
    return Assets(_checked(folder, f"hub {HUB_DATASET}"), f"hub {HUB_DATASET}")


def _remembered() -> Path:
    """The file that names the folder of a finished download."""
    return benchmark.cache_folder() / "libero-assets.path"


def _packs() -> Path:
    return benchmark.cache_folder() / "procedural"


def _checked(folder: Path, source: str) -> Path:
    missing = [name for name in REQUIRED if not (folder / name).is_dir()]
    if missing:
        raise AssetsMissing(
            f"{folder} (from {source}) is not a folder of LIBERO assets: it has no {', '.join(missing)}; "
            "point it at the 'assets' folder of a LIBERO checkout or download"
        )
    return folder


def status() -> str:
    """Each place in its order, what is there, and which one is used; nothing is downloaded or built."""
    places = {
        "--assets, LIBERO_ASSETS": (_named(None), "LIBERO_ASSETS is not set"),
        "LIBERO checkout": (_checkout(), f"no {benchmark.package_folder() / 'assets'}"),
        f"hub {HUB_DATASET}": (_downloaded(), "not downloaded; commands try to, 'python -m sim.assets download' too"),
        "procedural pack": (_built(), "not built; commands do if the hub cannot be reached"),
    }
    used = next((found for found, _ in places.values() if found), None)
    lines = []
    for place, (found, otherwise) in places.items():
        mark = "->" if found and found is used else "  "
        lines.append(f"{mark} {place:28} {f'{found.path}  digest {found.digest}' if found else otherwise}")
    if used is None or used.procedural:
        lines.append(f"The procedural pack is for developing and testing: {NOT_COMPARABLE}.")
    return "\n".join(lines)


def _built() -> Assets | None:
    from sim.libero.procedural import pack

    folder = _packs() / pack.digest()
    return Assets(folder.resolve(), "procedural pack") if folder.is_dir() else None
