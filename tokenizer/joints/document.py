"""The YAML of a motion VQ-VAE (``agent: config: ...``) as settings of a training run.

The same file is what a robot's ``joint_map`` may name (robot_bridge/config.py).
"""

import difflib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from common.errors import UserError
from common.joint_map import KEYS as JOINT_MAP_KEYS
from tokenizer.joints.options import FeatureConfig, JointTokenizerConfig

_TRAINING = {
    "batch_size": "batch_size",
    "lr": "lr",
    "lr_scheduler": "lr_milestones",
    "gamma": "lr_gamma",
    "weight_decay": "weight_decay",
    "warmup_iter": "warmup_steps",
    "total_iter": "max_steps",
    "gradient_clip": "clip_grad",
    "use_mixed_precision": "amp",
    "print_iter": "log_interval",
    "save_every": "val_interval",
    "validation_freq": "val_interval",
    "seed": "seed",
    "use_wandb": "use_wandb",
    "wandb_project": "wandb_project",
}
"""Settings of a run by their keys in the document."""
_MODEL = {name: f"model.{name}" for name in JointTokenizerConfig.__dataclass_fields__ if name != "features"}
_FEATURES = {name: f"model.features.{name}" for name in FeatureConfig.__dataclass_fields__}
_SETTINGS = _TRAINING | _MODEL | _FEATURES
_ELSEWHERE = {*JOINT_MAP_KEYS, "output_emb_width", "num_workers", "wandb_run_name", "wandb_tags"} - set(_SETTINGS)
"""Keys that say nothing about training here: the bridge's own, and names."""
_REFUSED = {
    "early_stopping_patience": "training does not stop early; best_measure=loss keeps the best checkpoint",
}
WARMUP = 1000
"""The document's, where it does not say."""


def settings_in(argv: list[str]) -> list[str]:
    """The arguments of a trainer with ``--config FILE`` replaced by the settings in that file, before all others."""
    arguments, found = [], []
    remaining = iter(argv)
    for argument in remaining:
        if argument == "--config" or argument.startswith("--config="):
            path = argument.partition("=")[2] or next(remaining, "")
            found += [f"{key}={json.dumps(value)}" for key, value in read_document(path).items()]
        else:
            arguments.append(argument)
    given = {argument.partition("=")[0] for argument in arguments}
    return [setting for setting in found if not _is_given(setting.partition("=")[0], given)] + arguments


def read_document(path: str | Path) -> dict[str, Any]:
    """Settings by their full names (``model.width``) and their values, of a motion VQ-VAE's YAML.

    Raises:
        UserError: it cannot be read, or has a key that nobody knows; the nearest known one is named.
    """
    try:
        document = yaml.safe_load(Path(path).read_text())
    except (OSError, yaml.YAMLError) as error:
        raise UserError(f"cannot read the configuration {path}: {' '.join(str(error).split())}") from None
    for section in ("agent", "config"):
        if isinstance(document, Mapping) and isinstance(document.get(section), Mapping):
            document = document[section]
    if not isinstance(document, Mapping):
        raise UserError(f"{path} is no configuration of a motion VQ-VAE: it must be a mapping, agent: config: ...")
    known = {*_SETTINGS, *_ELSEWHERE}
    for key in map(str, document):
        if key in _REFUSED:
            raise UserError(f"{path}: {key} is not supported: {_REFUSED[key]}")
        if key not in known:
            near = difflib.get_close_matches(key, sorted(known), 1, 0.0)[0]
            raise UserError(f"{path}: unknown key {key!r}; the nearest known one is {near!r}")
    if document.get("vq_norm") == "layer":
        raise UserError(f"{path}: vq_norm 'layer' is none of LN, GN, BN; for a norm over channels write LN")
    width = document.get("output_emb_width")
    if width is not None and width != document.get("code_dim", width):
        raise UserError(f"{path}: output_emb_width is {width}, code_dim {document['code_dim']}; they must be equal")
    values = {_SETTINGS[key]: _number(value) for key, value in document.items() if key in _SETTINGS}
    _count_warmup(values)
    return values


def _count_warmup(values: dict[str, Any]) -> None:
    """The document counts steps, and milestones, from the end of the warm-up."""
    warmup = values.get("warmup_steps", WARMUP)
    if isinstance(values.get("max_steps"), int):
        values["max_steps"] += warmup
    if isinstance(values.get("lr_milestones"), list):
        values["lr_milestones"] = [step + warmup for step in values["lr_milestones"]]


def _number(value: Any) -> Any:
    """``2e-4`` is text to YAML 1.1, which wants a dot."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value


def _is_given(setting: str, given: set[str]) -> bool:
    """Whether the command line has the setting too, under its full name or the short one."""
    return setting in given or setting.rsplit(".", 1)[-1] in given
