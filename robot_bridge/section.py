"""A YAML mapping that is read key by key, so that every mistake is named and no misspelt limit goes unnoticed."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from common.errors import UserError


class RobotConfigError(UserError):
    """A ``robot.yaml`` that is missing something or says something impossible; the text names the key."""


class Section:
    """A YAML mapping that remembers which of its keys were read, so that a misspelt limit is an error."""

    def __init__(self, data: Any, path: str):
        if not isinstance(data, Mapping):
            raise RobotConfigError(f"{path or 'the file'} must be a mapping")
        self._data, self._path, self._read = data, path, set[str]()

    def __contains__(self, key: str) -> bool:
        return key in self._data

    def keys(self) -> list[str]:
        return [str(key) for key in self._data]

    def take(self, key: str) -> Any:
        if key not in self._data:
            raise RobotConfigError(f"{self._path}{key} is missing")
        self._read.add(key)
        return self._data[key]

    def section(self, key: str) -> "Section":
        return Section(self.take(key), f"{self._path}{key}.")

    def text(self, key: str) -> str:
        value = self.take(key)
        if not isinstance(value, str) or not value:
            raise RobotConfigError(f"{self._path}{key} must be text, not {value!r}")
        return value

    def texts(self, key: str) -> list[str]:
        value = self.take(key)
        if not isinstance(value, list) or not value or not all(isinstance(entry, str) for entry in value):
            raise RobotConfigError(f"{self._path}{key} must be a list of names")
        return value

    def positive(self, key: str, or_zero: bool = False) -> float:
        value = self.take(key)
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not (0 < value < float("inf") or (or_zero and value == 0)):
            raise RobotConfigError(f"{self._path}{key} must be a number above 0{', or 0' * or_zero}, not {value!r}")
        return float(value)

    def number(self, key: str) -> float:
        value = self.take(key)
        if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
            raise RobotConfigError(f"{self._path}{key} must be a finite number, not {value!r}")
        return float(value)

    def numbers(self, key: str, count: int) -> np.ndarray:
        value = self.take(key)
        try:
            array = np.asarray(value, np.float64)
        except (TypeError, ValueError):
            raise RobotConfigError(f"{self._path}{key} must be {count} numbers, not {value!r}") from None
        if array.shape != (count,) or not np.isfinite(array).all():
            raise RobotConfigError(f"{self._path}{key} must be {count} finite numbers, not {value!r}")
        return array

    def close(self) -> None:
        unknown = set(self._data) - self._read
        if unknown:
            raise RobotConfigError(f"unknown keys {sorted(self._path + str(key) for key in unknown)}")
