"""Where LIBERO's models (meshes, textures, MJCF) come from, in one order for every command.

1. ``--assets DIR`` or the environment variable ``LIBERO_ASSETS``;
2. the ``assets`` folder of the installed LIBERO (a git checkout has one);
3. the hub cache of ``lerobot/libero-assets``, downloaded on first use.
"""

import hashlib
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from demos.errors import UserError
from sim import libero

HUB_DATASET = "lerobot/libero-assets"
REQUIRED = ("scenes", "stable_scanned_objects", "stable_hope_objects", "turbosquid_objects", "articulated_objects")


class AssetsMissing(UserError):
    """No usable folder of LIBERO assets was found."""


@dataclass(frozen=True)
class Assets:
    """A folder of LIBERO assets and how it was found."""

    path: Path
    source: str

    @cached_property
    def digest(self) -> str:
        """SHA-256 over names and contents of all files, first 16 hex digits: results record it."""
        total = hashlib.sha256()
        for file in sorted(path for path in self.path.rglob("*") if path.is_file()):
            total.update(file.relative_to(self.path).as_posix().encode() + b"\0")
            total.update(hashlib.sha256(file.read_bytes()).digest())
        return total.hexdigest()[:16]

    def __str__(self) -> str:
        return f"{self.path} ({self.source})"


def resolve(explicit: str | os.PathLike[str] | None = None) -> Assets:
    """Find LIBERO's assets.

    Raises:
        AssetsMissing: a named folder does not hold them, or none of the places has them.
    """
    for source, value in (("--assets", explicit), ("LIBERO_ASSETS", os.environ.get("LIBERO_ASSETS"))):
        if value:
            return Assets(_checked(Path(value).expanduser().resolve(), source), source)
    checkout = libero.package_folder() / "assets"
    if checkout.is_dir():
        return Assets(_checked(checkout, "LIBERO checkout"), "LIBERO checkout")
    return Assets(_download(), f"hub {HUB_DATASET}")


def _checked(folder: Path, source: str) -> Path:
    missing = [name for name in REQUIRED if not (folder / name).is_dir()]
    if missing:
        raise AssetsMissing(
            f"{folder} (from {source}) is not a folder of LIBERO assets: it has no {', '.join(missing)}; "
            "point it at the 'assets' folder of a LIBERO checkout or download"
        )
    return folder


def _download() -> Path:
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        raise AssetsMissing(
            "no LIBERO assets here and huggingface_hub is not installed; set LIBERO_ASSETS to the 'assets' folder of "
            "a LIBERO checkout, or run 'pip install huggingface_hub'"
        ) from None
    try:
        root = Path(snapshot_download(HUB_DATASET, repo_type="dataset"))
    except Exception as error:
        raise AssetsMissing(
            f"no LIBERO assets here and the hub cannot be reached ({type(error).__name__}); set LIBERO_ASSETS to the "
            f"'assets' folder of a LIBERO checkout, or run once where {HUB_DATASET} can be downloaded"
        ) from error
    return _checked(root / "assets" if (root / "assets").is_dir() else root, f"hub {HUB_DATASET}")
