"""What stands beside exported graphs: everything a policy has to know about itself to run without torch."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.errors import UserError
from common.files import replacing

FORMAT_VERSION = 2
_MANIFEST, _EMBEDDINGS = "policy.json", "instructions.npy"


@dataclass(frozen=True)
class TextInput:
    """How a model takes instructions: as hashed words, or, without ``buckets``, as stored embeddings."""

    buckets: int = 0
    max_words: int = 0


@dataclass(frozen=True)
class Manifest:
    """Everything but the weights."""

    views: tuple[str, ...]
    image_size: tuple[int, int]
    action_horizon: int
    action_dim: int
    proprio_dim: int
    num_tracks: int
    num_codes: int
    forward_text: TextInput
    inverse_text: TextInput | None
    """None where inverse dynamics does not read the instruction"""
    share_vision_encoder: bool
    soft_codes: bool
    """whether the mean of all codes is acted on, which the first graph gives"""
    inverse_sees: bool
    """whether inverse dynamics looks at images"""
    head_steps: int
    """in which the action head makes actions of noise; 0 of one that does not sample"""
    head_draws: int
    """how many normal draws of an action chunk the head needs for that"""
    precision: str
    description: dict[str, Any]
    """what ``describe`` of the policy says"""
    instructions: tuple[str, ...] = ()
    """those whose embeddings it carries"""
    measured: dict[str, float] = field(default_factory=dict)
    """how far its results were from torch's when it was exported"""

    @property
    def graphs(self) -> tuple[str, ...]:
        """Names of its graphs, see ``policy.runtimes.graphs``; with int8 also draft, a rounded think."""
        refine = ("refine",) if self.head_steps else ()
        draft = ("draft",) if self.precision == "int8" else ()
        return ("see", "think", "act", "follow", *refine, *draft)


def graph_path(folder: Path, name: str) -> Path:
    """Where the graph of this name is."""
    return folder / f"{name}.onnx"


def write(folder: Path, manifest: Manifest, embeddings: Mapping[str, NDArray[np.float32]]) -> None:
    """Writes the manifest, which makes ``folder`` a policy: last, after its graphs."""
    if embeddings:
        with replacing(folder / _EMBEDDINGS) as path, open(path, "wb") as file:
            np.save(file, np.stack([embeddings[text] for text in manifest.instructions]))
    with replacing(folder / _MANIFEST) as path:
        path.write_text(json.dumps({"format_version": FORMAT_VERSION, **asdict(manifest)}, indent=1) + "\n")


def read(folder: Path) -> tuple[Manifest, dict[str, NDArray[np.float32]]]:
    """The manifest of an exported policy, and embeddings (512,) by instruction.

    Raises:
        UserError: it is no such folder, of another version, or parts of it are missing or damaged.
    """
    try:
        document = json.loads((folder / _MANIFEST).read_text())
        if (version := document.pop("format_version")) != FORMAT_VERSION:
            raise UserError(
                f"{folder} has format version {version}, this program reads version {FORMAT_VERSION}; export it again"
            )
        document["forward_text"] = TextInput(**document["forward_text"])
        if document["inverse_text"] is not None:
            document["inverse_text"] = TextInput(**document["inverse_text"])
        for name in ("views", "image_size", "instructions"):
            document[name] = tuple(document[name])
        manifest = Manifest(**document)
        rows = np.load(folder / _EMBEDDINGS, allow_pickle=False) if manifest.instructions else ()
        embeddings = dict(zip(manifest.instructions, rows, strict=True))
    except FileNotFoundError:
        raise UserError(
            f"{folder} is no exported policy; make one with 'python -m policy.export BUNDLE {folder}'"
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{folder} is damaged ({error}); export the policy again") from None
    if missing := [name for name in manifest.graphs if not graph_path(folder, name).is_file()]:
        raise UserError(f"{folder} lacks {graph_path(folder, missing[0]).name}; export the policy again")
    return manifest, embeddings
