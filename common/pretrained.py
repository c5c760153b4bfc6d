"""Pretrained weights that others publish: a file, a folder as ``transformers`` writes them, or a name on the hub.

A file is read without executing anything in it, and has to hold finite numbers for every weight that is wanted.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from common.errors import UserError

WEIGHTS = ("model.safetensors", "pytorch_model.bin")
"""Names of the file of weights in a folder or on the hub, the better one first."""
SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")
"""Of files of weights."""
HUB_TIMEOUT = 5.0
"""Seconds that the hub has for its first answer."""


def find_weights(source: str) -> Path:
    """The file of weights of ``source``, which is one, a folder that holds one, or a name on the hub.

    Raises:
        UserError: there is none, or the hub cannot be reached.
    """
    return Path(source) if Path(source).suffix in SUFFIXES else _find(source, *WEIGHTS)


def find_beside(source: str, name: str) -> Path:
    """The file ``name`` that belongs to the weights at ``source``; raises what ``find_weights`` does."""
    if Path(source).suffix in SUFFIXES:
        source = str(Path(source).parent)
    return _find(source, name)


def _find(source: str, *names: str) -> Path:
    folder = Path(source)
    if folder.is_dir():
        found = [folder / name for name in names if (folder / name).is_file()]
        if not found:
            raise UserError(f"{folder} has no {' and no '.join(names)}")
        return found[0]
    try:
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import EntryNotFoundError
    except ImportError:
        raise UserError(
            f"{source} is no file and no folder; to get it from the hub run 'pip install huggingface_hub'"
        ) from None
    reason: Exception | None = None
    for name in names:
        try:
            return Path(hf_hub_download(source, name, etag_timeout=HUB_TIMEOUT))
        except EntryNotFoundError as error:  # the hub, or what is kept of it here, has no such file
            reason = error
        except Exception as error:
            reason = error
            break
    raise UserError(
        f"{source} is no file and no folder, and the hub does not give its {names[0]} ({type(reason).__name__}); name "
        "a file or a folder with it"
    )


def read_config(source: str, kind: str) -> dict[str, Any]:
    """The ``config.json`` of a ``kind`` of model (its ``model_type``) beside the weights at ``source``.

    Raises:
        UserError: there is none, it cannot be read, or it describes another kind of model.
    """
    path = find_beside(source, "config.json")
    try:
        config = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read {path} ({error})") from None
    found = config.get("model_type") if isinstance(config, dict) else None
    if found != kind:
        raise UserError(f"{path} describes a model of type {found}, not {kind}")
    return config


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """The tensors by name in a ``.safetensors`` file or a pickle of tensors (.pth, .bin).

    Raises:
        UserError: there is no such file, it is damaged, would run code, or holds something else than finite tensors.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"no file of weights at {path}")
    try:
        found = load_file(path) if path.suffix == ".safetensors" else torch.load(path, "cpu", weights_only=True)
    except Exception as error:  # a damaged pickle raises anything
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"cannot read weights from {path} ({reason})") from None
    if not isinstance(found, Mapping) or not all(map(torch.is_tensor, found.values())):
        raise UserError(f"{path} does not hold weights: tensors by their names")
    for name, tensor in found.items():
        if not tensor.isfinite().all():
            raise UserError(f"{path}: the weight {name} is not finite; get the file again")
    return dict(found)


def load_into(module: nn.Module, weights: Mapping[str, Tensor], path: Path, what: str) -> None:
    """Copies ``weights``, all of them and no others, into ``module``.

    Raises:
        UserError: they are not those of ``what``; what differs, and the file at ``path``, are named.
    """
    try:
        module.load_state_dict(weights)
    except RuntimeError as error:
        raise UserError(f"{path} does not hold {what} weights: {' '.join(str(error).split())[:200]}") from None
