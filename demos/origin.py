"""Where a model's demonstrations came from, as far as their files say; checkpoints and bundles carry it along."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Origin:
    """What demonstrations were of; None for what no file says.

    >>> Origin(("open it",)) | Origin(("open it", "close it"), ("9a1f",))
    Origin(instructions=('open it', 'close it'), assets=('9a1f',))
    """

    instructions: tuple[str, ...] | None = None
    assets: tuple[str, ...] | None = None
    """digests of the assets that they were rendered with"""

    @classmethod
    def from_info(cls, info: Mapping[str, Any]) -> "Origin":
        """What a checkpoint's info says; those made before it was kept say nothing."""
        return cls(**{name: tuple(info[name]) for name in ("instructions", "assets") if info.get(name) is not None})

    def to_info(self) -> dict[str, list[str]]:
        """What is known, for a checkpoint's info and for ``describe``."""
        return {name: list(values) for name, values in asdict(self).items() if values is not None}

    def __or__(self, other: "Origin") -> "Origin":
        """Both together, each entry once."""
        return Origin(_union(self.instructions, other.instructions), _union(self.assets, other.assets))


def _union(one: Iterable[str] | None, other: Iterable[str] | None) -> tuple[str, ...] | None:
    if one is None and other is None:
        return None
    return tuple(dict.fromkeys([*(one or ()), *(other or ())]))
