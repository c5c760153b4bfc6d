"""Reads published AMPLIFY files (.pt, pickles) without executing anything in them.

Their configs may hold paths, and their optimizers lists of OmegaConf's; these and plain containers of tensors are let
in, everything else is refused.
"""

import collections
import pathlib
import pickle
import typing
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, ListConfig
from omegaconf.base import ContainerMetadata, Metadata
from omegaconf.nodes import AnyNode

from common.files import digest_of
from training.checkpoint import PICKLE_SUFFIXES, CheckpointError

_LET_IN: list[Any] = [
    pathlib.PosixPath,
    *(ListConfig, DictConfig, ContainerMetadata, Metadata, AnyNode),
    *(typing.Any, collections.defaultdict, dict, list, int),
]


def is_published(path: str | Path) -> bool:
    """Whether the name is that of a pickle, as published checkpoints are."""
    return Path(path).suffix in PICKLE_SUFFIXES


def read_published(path: str | Path, part: str) -> tuple[dict[str, Any], str]:
    """What a published file holds (``config``, ``model``, ...), and the digest of the file.

    Raises:
        CheckpointError: it is not there, damaged, would run code, or is no ``part`` (as messages call it).
    """
    try:
        with torch.serialization.safe_globals(_LET_IN):
            found = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise CheckpointError(f"no file at {path}") from None
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise CheckpointError(f"{path} cannot be read safely ({reason})") from None
    config, weights = (found.get(name) if isinstance(found, dict) else None for name in ("config", "model"))
    if not isinstance(config, dict) or not isinstance(weights, dict) or not all(map(torch.is_tensor, weights.values())):
        raise CheckpointError(f"{path} is not a published AMPLIFY {part}: it has no config or no model")
    return found, digest_of(Path(path))


@contextmanager
def reading(path: str | Path, part: str) -> Iterator[None]:
    """Around what looks into a config: what is missing there becomes a CheckpointError that names the file."""
    try:
        yield
    except (KeyError, TypeError) as error:
        raise CheckpointError(f"{path} is not a published AMPLIFY {part}: {error} is missing") from None
