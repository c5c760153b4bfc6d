"""Dataset specs, AMPLIFY's notation for training data: ``[libero_10:traj0.9, libero_object:action-0.1]``.

A dataset is a folder of task files; ``traj`` is the share of each task's episodes whose motion trains tokenizer and
forward dynamics, ``action`` the share whose actions train the inverse dynamics. A negative share counts from the end.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from common.errors import UserError

Mode = Literal["traj", "action"]
MODES: tuple[Mode, ...] = ("traj", "action")

_NAME = re.compile(r"[A-Za-z0-9_.-]+")
_SHARE = re.compile(r"(traj|action)\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)")


class SpecError(UserError):
    """A dataset spec that does not say which episodes of which dataset are meant."""


@dataclass(frozen=True)
class DatasetSpec:
    """One dataset and the shares of its episodes, each in [-1, 1] or absent.

    >>> parse_specs("[libero_90:traj0.8:action0.04]")
    (DatasetSpec(name='libero_90', traj=0.8, action=0.04),)
    """

    name: str
    traj: float | None = None
    action: float | None = None

    def share(self, mode: Mode) -> float | None:
        """The share of the episodes that train ``mode``, None where the spec names none."""
        return self.traj if mode == "traj" else self.action

    def __str__(self) -> str:
        return ":".join([self.name, *(f"{mode}{self.share(mode)}" for mode in MODES if self.share(mode) is not None)])


def parse_specs(specs: str | Iterable[str]) -> tuple[DatasetSpec, ...]:
    """Read one text, ``[a:traj0.9, b:action-0.1]`` with or without brackets, or a list of ``name:modeF[:modeF]``."""
    if isinstance(specs, str):
        text = specs.strip()
        if text.startswith("[") != text.endswith("]"):
            raise SpecError(f"dataset spec '{specs}': a bracket is missing; {_EXAMPLE}")
        specs = text.removeprefix("[").removesuffix("]").split(",")
    parsed = tuple(_parse_one(spec.strip().strip("'\"")) for spec in specs)
    if not parsed:
        raise SpecError(f"the list of datasets is empty; {_EXAMPLE}")
    return parsed


def chosen_episodes(share: float, count: int) -> range:
    """The episodes that ``share`` of a task file with ``count`` episodes stands for; their number is truncated.

    >>> chosen_episodes(0.9, 50), chosen_episodes(-0.1, 50)
    (range(0, 45), range(45, 50))
    """
    number = int(count * abs(share))
    return range(number) if share >= 0 else range(count - number, count)


_EXAMPLE = "write for example [libero_10:traj0.9, libero_object:action-0.1]"


def _parse_one(spec: str) -> DatasetSpec:
    name, *parts = (part.strip() for part in spec.split(":"))
    if not _NAME.fullmatch(name):
        raise SpecError(f"dataset spec '{spec}': '{name}' is not the name of a dataset folder; {_EXAMPLE}")
    if not parts:
        raise SpecError(f"dataset spec '{spec}' names no share of the episodes; write '{name}:traj0.9'")
    shares: dict[str, float] = {}
    for part in parts:
        match = _SHARE.fullmatch(part)
        if match is None:
            raise SpecError(
                f"dataset spec '{spec}': '{part}' is not 'traj' or 'action' followed by a number; {_EXAMPLE}"
            )
        mode, share = match[1], float(match[2])
        if mode in shares:
            raise SpecError(f"dataset spec '{spec}' gives the share for '{mode}' twice")
        if abs(share) > 1:
            raise SpecError(f"dataset spec '{spec}': {share:g} is not a share between -1 and 1")
        shares[mode] = share
    return DatasetSpec(name, **shares)
