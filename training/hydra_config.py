"""Command lines of the trainers: Hydra's ``key=value`` overrides onto a typed configuration.

Defaults are written once, in the dataclasses; the YAML files say only what differs from them.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from common.errors import UserError
from training.typed_config import from_mapping

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class ConfigFiles:
    """The YAML files of one trainer: those in ``folder`` whose names start with ``prefix``."""

    folder: Path
    default: str = "default"
    """name of the file that is used when the command line names none"""
    prefix: str = ""
    aliases: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """other names of settings, or of groups of them, that the command line may use"""

    def setting(self, key: str, settings: Mapping[str, Any]) -> str:
        """The full name of a setting on the command line: aliases are replaced, and what is no setting itself but one
        of the model is taken as that."""
        for alias in sorted(self.aliases, key=len, reverse=True):
            if key == alias or key.startswith(f"{alias}."):
                return self.aliases[alias] + key.removeprefix(alias)
        name = key.partition(".")[0]
        return f"model.{key}" if name not in settings and name in settings.get("model", {}) else key


def defaults(cls: type) -> dict[str, Any]:
    """All settings of a dataclass with their defaults; ``???`` where the user has to say."""
    values: dict[str, Any] = {}
    for field in dataclasses.fields(cls):
        if field.default is not dataclasses.MISSING:
            value = field.default
        elif field.default_factory is not dataclasses.MISSING:
            value = field.default_factory()
        else:
            value = "???"
        values[field.name] = dataclasses.asdict(value) if dataclasses.is_dataclass(value) else value  # type: ignore[arg-type]
    return values


def parse(cls: type[T], files: ConfigFiles, argv: Sequence[str], *, command: str, about: str) -> T | None:
    """The configuration for ``argv``: ``[--config-name NAME] [key=value ...]``; None when only help was wanted.

    The defaults list of each of ``files`` starts with ``base``: the defaults of ``cls``. ``command`` and ``about`` go
    into the help.
    """
    names = sorted(path.stem for path in files.folder.glob(f"{files.prefix}*.yaml"))
    config_name, overrides, show_help, show_config = files.default, [], False, False
    arguments = iter(argv)
    for argument in arguments:
        if argument in ("-h", "--help"):
            show_help = True
        elif argument == "--cfg":
            show_config = True
        elif argument == "--config-name" or argument.startswith("--config-name="):
            config_name = argument.partition("=")[2] or next(arguments, "")
        elif argument.startswith("-") or "=" not in argument:
            raise UserError(f"cannot read the argument {argument!r}; settings are written key=value, see --help")
        else:
            overrides.append(argument)
    settings = defaults(cls)
    overrides = [f"{files.setting(key, settings)}={value}" for key, _, value in (o.partition("=") for o in overrides)]
    if config_name not in names:
        raise UserError(f"no config named {config_name!r} in {files.folder}; there are {', '.join(names)}")
    ConfigStore.instance().store("base", settings)
    try:
        with initialize_config_dir(str(files.folder.resolve()), version_base=None):
            config = compose(config_name, [] if show_help else overrides)
    except (HydraException, OmegaConfBaseException) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(f"{reason} (run '{command} --help' for all settings)") from None
    if show_help:
        print(f"usage: {command} [--config-name {{{','.join(names)}}}] [--cfg] [key=value ...]\n\n{about.strip()}\n")
        print(f"settings of '{config_name}' (--config-name) and their values; ??? has to be given:\n")
        print(OmegaConf.to_yaml(config))
        return None
    if show_config:
        print(OmegaConf.to_yaml(config))
        return None
    if missing := sorted(OmegaConf.missing_keys(config)):
        raise UserError(f"{missing[0]} has to be given, for example {missing[0]}=...; see '{command} --help'")
    return from_mapping(cls, OmegaConf.to_container(config, resolve=True), "command line")  # type: ignore[arg-type]
