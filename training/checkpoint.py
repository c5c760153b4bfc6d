"""Checkpoints: one ``.safetensors`` file with the weights and, in its metadata, everything needed to use them.

The metadata is one JSON document: kind, format version, resolved config, versions of the libraries that made it,
training data and metrics. No pickle, and nothing but the file is consulted when it is loaded.
"""

import hashlib
import json
import os
import platform
from collections.abc import Iterable, Iterator, Mapping
from copy import copy
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Self

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialize
from torch import Tensor, nn

from common.errors import UserError
from common.files import digest_of, replacing

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
    weights: Mapping[str, Tensor]
    info: dict[str, Any] = field(default_factory=dict)
    """what is good to know but not needed to load: data, metrics, step, source files"""
    versions: dict[str, str] = field(default_factory=dict)
    path: Path | None = None
    digest: str = ""
    """sha256 of the file, first 16 hex digits"""
    text_embeddings: dict[str, Tensor] = field(default_factory=dict)
    """(512,) by instruction, for models that take stored ones: data, not weights"""


class StoredTensors(Mapping[str, Tensor]):
    """The tensors of a safetensors file, each read when it is asked for.

    So a model can be filled from it tensor by tensor, and never lies in memory twice; a mapped file would, since what
    was read of it stays. The open file remains the same when another one takes its name.

    ``path`` is a file whose header ``safe_open`` found in order: every tensor has its place in it, and no other's.

    Raises:
        CheckpointError: it holds numbers of a type that our checkpoints do not have.
    """

    def __init__(self, path: Path):
        self._file = open(path, "rb")  # noqa: SIM115 (closed with the last reference)
        length = int.from_bytes(self._file.read(8), "little")
        header = json.loads(self._file.read(length))
        self._start = 8 + length
        self._entries = {name: entry for name, entry in header.items() if name != "__metadata__"}
        for name, entry in self._entries.items():
            if entry["dtype"] not in _DTYPES:
                raise CheckpointError(
                    f"{path}: {name} is of the type {entry['dtype']}, which no checkpoint of ours has"
                )

    @property
    def shapes(self) -> dict[str, torch.Size]:
        """By name, without reading a tensor."""
        return {name: torch.Size(entry["shape"]) for name, entry in self._entries.items()}

    def without(self, names: Iterable[str]) -> Self:
        """The same but for these."""
        fewer = copy(self)
        fewer._entries = {name: entry for name, entry in self._entries.items() if name not in set(names)}
        return fewer

    def __getitem__(self, name: str) -> Tensor:
        entry = self._entries[name]
        begin, end = entry["data_offsets"]
        dtype = _DTYPES[entry["dtype"]]
        if begin == end:
            return torch.empty(entry["shape"], dtype=dtype)
        data = bytearray(os.pread(self._file.fileno(), end - begin, self._start + begin))
        return torch.frombuffer(data, dtype=dtype).view(entry["shape"])

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)


_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}


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
        stored = StoredTensors(path)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is truncated or not a safetensors file ({error}); copy it again") from None
    if kind not in (None, document["kind"]):
        raise CheckpointError(f"{path} holds a {document['kind']} checkpoint where a {kind} one is needed")
    digest = digest_of(path)
    of_texts = [name for name in stored if name.startswith(_EMBEDDING)]
    embeddings = {name.removeprefix(_EMBEDDING): stored[name] for name in of_texts}
    weights = stored.without(of_texts)
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
    """Copies the weights into ``module``: every one must be there, none left over, all of the right shape.

    Raises:
        CheckpointError: they are not those of ``module``, which is left as it was.
    """
    wanted, found = unique_weights(module), checkpoint.weights
    where = str(checkpoint.path or "the checkpoint")
    if missing := sorted(set(wanted) - set(found)):
        raise CheckpointError(f"{where} lacks the weight {_few(missing)}; it does not belong to its config")
    if extra := sorted(set(found) - set(wanted)):
        raise CheckpointError(f"{where} has the unexpected weight {_few(extra)}; it does not belong to its config")
    shapes = found.shapes if isinstance(found, StoredTensors) else {name: w.shape for name, w in found.items()}
    for name, tensor in wanted.items():
        if tensor.shape != shapes[name]:
            theirs, ours = tuple(shapes[name]), tuple(tensor.shape)
            raise CheckpointError(f"{where}: the weight {name} has shape {theirs}, its config says {ours}")
    with torch.no_grad():
        for name, tensor in wanted.items():
            tensor.copy_(found[name])


def _few(names: list[str]) -> str:
    rest = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + rest
