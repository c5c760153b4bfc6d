"""Checkpoints: one ``.safetensors`` file with the weights and, in its metadata, everything needed to use them.

The metadata is one JSON document: kind, format version, resolved config, versions of the libraries that made it,
training data and metrics. No pickle, and nothing but the file is consulted when it is loaded.
"""

import hashlib
import json
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialize
from torch import Tensor, nn

from common.errors import UserError
from common.files import replacing

FORMAT_VERSION = 1
_METADATA_KEY = "amplify"
_EMBEDDING = "text_embedding: "
"""Begins the name of a tensor that is the embedding of the instruction that follows."""


PICKLE_SUFFIXES = (".pt", ".pth", ".ckpt")


class CheckpointError(UserError):
    """A checkpoint cannot be used: what is wrong with which file, and what to do."""


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint in memory. ``kind`` is motion_tokenizer, forward_dynamics, inverse_dynamics or bundle."""

    kind: str
    config: dict[str, Any]
    weights: dict[str, Tensor]
    info: dict[str, Any] = field(default_factory=dict)
    """what is good to know but not needed to load: data, metrics, step, source files"""
    versions: dict[str, str] = field(default_factory=dict)
    path: Path | None = None
    digest: str = ""
    """sha256 of the file, first 16 hex digits"""
    text_embeddings: dict[str, Tensor] = field(default_factory=dict)
    """(512,) by instruction, for models that take stored ones: data, not weights"""


def digest_of(path: Path) -> str:
    """sha256 of a file, first 16 hex digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def library_versions() -> dict[str, str]:
    """Versions of what decides about a model's numbers."""
    found = {"python": platform.python_version()}
    for name in ("torch", "numpy", "safetensors", "lightning-fabric", "transformers"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def unique_weights(module: nn.Module) -> dict[str, Tensor]:
    """The state of ``module``; a tensor that several submodules share appears once, under its first name."""
    first: dict[int, str] = {}
    weights = {}
    for name, tensor in module.state_dict(keep_vars=True).items():
        if first.setdefault(id(tensor), name) == name:
            weights[name] = tensor.detach()
    return weights


def save(
    path: Path,
    kind: str,
    config: Mapping[str, Any],
    weights: Mapping[str, Tensor],
    info: Mapping[str, Any] | None = None,
    text_embeddings: Mapping[str, Tensor] | None = None,
) -> str:
    """Writes a checkpoint atomically; returns its digest. See ``Checkpoint`` for what goes into it."""
    document = {
        "kind": kind,
        "format_version": FORMAT_VERSION,
        "config": config,
        "info": info or {},
        "versions": library_versions(),
    }
    embeddings = {_EMBEDDING + text: embedding for text, embedding in (text_embeddings or {}).items()}
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in {**weights, **embeddings}.items()}
    data = serialize(tensors, metadata={_METADATA_KEY: json.dumps(document)})
    with replacing(path) as temporary:
        temporary.write_bytes(data)
    return hashlib.sha256(data).hexdigest()[:16]


def read(path: str | Path, kind: str | None = None) -> Checkpoint:
    """Reads a checkpoint of the given ``kind``, or of any; raises CheckpointError for anything else."""
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"no checkpoint at {path}; give the path of a .safetensors file")
    if path.suffix in PICKLE_SUFFIXES:
        raise CheckpointError(
            f"{path} is a pickle file, not one of our checkpoints; published AMPLIFY files are converted by "
            f"'python -m policy.import_official {path}'"
        )
    try:
        with safe_open(path, framework="pt") as file:
            document = _document(path, file.metadata() or {})
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is truncated or not a safetensors file ({error}); copy it again") from None
    if kind not in (None, document["kind"]):
        raise CheckpointError(f"{path} holds a {document['kind']} checkpoint where a {kind} one is needed")
    digest = digest_of(path)
    embeddings = {name.removeprefix(_EMBEDDING): x for name, x in tensors.items() if name.startswith(_EMBEDDING)}
    weights = {name: x for name, x in tensors.items() if not name.startswith(_EMBEDDING)}
    return Checkpoint(
        document["kind"], document["config"], weights, document["info"], document["versions"], path, digest, embeddings
    )


def _document(path: Path, metadata: Mapping[str, str]) -> dict[str, Any]:
    try:
        document = json.loads(metadata[_METADATA_KEY])
        found = document["format_version"]
        if found == FORMAT_VERSION:
            return {key: document[key] for key in ("kind", "config", "info", "versions")}
    except (KeyError, TypeError, ValueError):
        raise CheckpointError(f"{path} is not one of our checkpoints: its description is missing or damaged") from None
    raise CheckpointError(
        f"{path} has format version {found}, this program reads version {FORMAT_VERSION}; use the matching release"
    )


def load_weights(module: nn.Module, checkpoint: Checkpoint) -> None:
    """Copies the weights into ``module``: every one must be there, none left over, all of the right shape."""
    wanted, found = unique_weights(module), checkpoint.weights
    where = str(checkpoint.path or "the checkpoint")
    if missing := sorted(set(wanted) - set(found)):
        raise CheckpointError(f"{where} lacks the weight {_few(missing)}; it does not belong to its config")
    if extra := sorted(set(found) - set(wanted)):
        raise CheckpointError(f"{where} has the unexpected weight {_few(extra)}; it does not belong to its config")
    for name, tensor in wanted.items():
        if tensor.shape != found[name].shape:
            theirs, ours = tuple(found[name].shape), tuple(tensor.shape)
            raise CheckpointError(f"{where}: the weight {name} has shape {theirs}, its config says {ours}")
    with torch.no_grad():
        for name, tensor in wanted.items():
            tensor.copy_(found[name])


def _few(names: list[str]) -> str:
    rest = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + rest
