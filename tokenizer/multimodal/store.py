"""Tokens on disk, as the document lays them out: ``<modality>/<six digits>/<modality>.npy``, captions as JSON.

Beside them ``manifest.json`` says how they were made, and ``videos.jsonl`` has a line for each video with its pairs.
After the split the modalities lie in ``train``, ``eval`` and ``test``.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from common.errors import UserError
from common.files import replacing
from tokenizer.multimodal.split import SPLITS, SplitUnit, split_pairs

CAPTIONS = "captions"
Tokens = Mapping[str, np.ndarray | str]
"""Of one pair by modality; a caption is text."""


@dataclass(frozen=True)
class Pair:
    """Two frames of a video, by number, whose tokens are stored under ``id``; ``digest`` is of their content."""

    id: str
    reference: int
    successor: int
    ssim: float
    digest: str


@dataclass(frozen=True)
class VideoRecord:
    """What became of a video: its pairs, or why it was left out."""

    video: str
    fingerprint: str
    size: tuple[int, int] = (0, 0)
    """width and height"""
    frames: int = 0
    pairs: tuple[Pair, ...] = ()
    left_out: str | None = None


class TokenStore:
    """The tokens in a folder. Each video appears when all its pairs are there, in one step."""

    def __init__(self, root: str | Path):
        self.root = Path(root)
        self._manifest, self._lines = self.root / "manifest.json", self.root / "videos.jsonl"

    @classmethod
    def read(cls, root: str | Path) -> "TokenStore":
        """A store that is there; UserError where there is none."""
        store = cls(root)
        if not store._manifest.exists():
            raise UserError(
                f"no tokens in {root} (manifest.json); make some with python -m tokenizer.encode_multimodal"
            )
        return store

    def manifest(self) -> dict[str, Any]:
        """How the tokens were made; empty where none were."""
        if not self._manifest.exists():
            return {}
        try:
            return json.loads(self._manifest.read_text())
        except ValueError as error:
            raise UserError(f"{self._manifest} is damaged ({error}); make the tokens again in another folder") from None

    def write_manifest(self, values: Mapping[str, Any]) -> None:
        """Says how the tokens are made.

        Raises:
            UserError: those that are there were made otherwise.
        """
        found = self.manifest()
        for key, value in values.items():
            if found and found.get(key) != json.loads(json.dumps(value)):
                raise UserError(
                    f"{self.root} holds tokens made with {key} {found.get(key)!r}, not {value!r}; tokens of two kinds "
                    "do not mix: go on as before, or write to another folder"
                )
        self._update(values)

    def _update(self, values: Mapping[str, Any]) -> None:
        with replacing(self._manifest) as temporary:
            temporary.write_text(json.dumps({**self.manifest(), **values}, indent=1) + "\n")

    @property
    def modalities(self) -> tuple[str, ...]:
        return tuple(self.manifest()["modalities"])

    @property
    def is_split(self) -> bool:
        return "split" in self.manifest()

    # -- videos

    def records(self) -> dict[str, VideoRecord]:
        """What became of each video so far; a line that was being written when the writer died does not count."""
        found: dict[str, VideoRecord] = {}
        if self._lines.exists():
            for line in self._lines.read_bytes().splitlines(keepends=True):
                if not line.endswith(b"\n"):
                    break
                values = json.loads(line)
                pairs = tuple(Pair(**pair) for pair in values.pop("pairs"))
                record = VideoRecord(**{**values, "pairs": pairs, "size": tuple(values["size"])})
                found[record.video] = record
        return found

    def append(self, record: VideoRecord) -> None:
        """Adds what became of a video, whose pairs are written; ``remove_half_line`` comes before the first."""
        with open(self._lines, "ab") as file:
            file.write(json.dumps(asdict(record)).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())

    def remove_half_line(self) -> None:
        """Removes the line that was being written when the writer died, so that others may follow."""
        if self._lines.exists():
            os.truncate(self._lines, self._lines.read_bytes().rfind(b"\n") + 1)

    def remove_unrecorded(self) -> None:
        """Removes the pairs of a video that was being written when the writer died."""
        recorded = {pair.id for record in self.records().values() for pair in record.pairs}
        for modality in self.modalities:
            for folder in (self.root / modality).glob("[0-9]" * 6):
                if folder.name not in recorded:
                    shutil.rmtree(folder)

    # -- pairs

    def folder(self, modality: str, pair: str) -> Path:
        """Where the tokens of a pair are, before or after the split."""
        places = [self.root / split / modality / pair for split in SPLITS]
        return next((place for place in places if place.exists()), self.root / modality / pair)

    def write(self, pair: str, tokens: Tokens) -> str:
        """Writes the tokens of a pair; returns their digest."""
        for modality, values in tokens.items():
            suffix = "json" if isinstance(values, str) else "npy"
            with replacing(self.folder(modality, pair) / f"{modality}.{suffix}") as temporary:
                if isinstance(values, str):
                    temporary.write_text(json.dumps({"caption": values}) + "\n")
                else:
                    with open(temporary, "wb") as file:
                        np.save(file, values)
        return digest(tokens)

    def tokens(self, pair: str) -> dict[str, np.ndarray | str]:
        """The tokens of a pair by modality.

        Raises:
            UserError: a file is missing or damaged.
        """
        return {modality: read_tokens(self.folder(modality, pair), modality) for modality in self.modalities}

    def damaged(self) -> Iterator[tuple[VideoRecord, str]]:
        """The videos of which tokens are missing or not what was written, and why."""
        for record in self.records().values():
            for pair in record.pairs:
                try:
                    if digest(self.tokens(pair.id)) != pair.digest:
                        yield record, f"pair {pair.id} is not what was written"
                        break
                except UserError as error:
                    yield record, str(error)
                    break

    def split(self, unit: SplitUnit) -> None:
        """Moves the pairs into ``train``, ``eval`` and ``test``; may be cut off and done again."""
        videos = {pair.id: name for name, record in self.records().items() for pair in record.pairs}
        found = split_pairs(videos, unit)
        for split, pairs in found.items():
            for modality in self.modalities:
                target = self.root / split / modality
                target.mkdir(parents=True, exist_ok=True)
                for pair in pairs:
                    if not (target / pair).exists():
                        os.rename(self.root / modality / pair, target / pair)
        for modality in self.modalities:
            if (self.root / modality).is_dir() and not any((self.root / modality).iterdir()):
                (self.root / modality).rmdir()
        self._update({"split": unit, "pairs": {split: len(pairs) for split, pairs in found.items()}})


def read_tokens(folder: Path, modality: str) -> np.ndarray | str:
    """The only file of a pair's folder, whatever its name: an array, or of captions the (first) text.

    Raises:
        UserError: it is missing or damaged.
    """
    files = [path for path in folder.glob("*") if not path.name.startswith(".")]
    if len(files) != 1:
        raise UserError(f"{folder} holds {len(files)} files, there must be one; make the tokens again")
    try:
        if modality != CAPTIONS:
            return np.load(files[0], allow_pickle=False)
        found = json.loads(files[0].read_text())
        caption = found[0] if isinstance(found, list) else found
        return str(caption["caption"] if isinstance(caption, dict) else caption)
    except (OSError, EOFError, ValueError, KeyError, IndexError) as error:
        raise UserError(f"{files[0]} is damaged ({error}); make the tokens again") from None


def digest(tokens: Tokens) -> str:
    """Of the content of a pair: 16 hex digits."""
    found = hashlib.sha256()
    for modality, values in sorted(tokens.items()):
        found.update(f"{modality}\0".encode())
        if isinstance(values, str):
            found.update(values.encode())
        else:
            found.update(f"{values.dtype}{values.shape}\0".encode() + values.tobytes())
    return found.hexdigest()[:16]
