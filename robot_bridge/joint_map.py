"""Joint vectors between the simulator's order and a real robot's (design.md section 8)."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from common.errors import UserError

KEYS = ("apply_sim_to_real_map", "real_dof", "sim_to_real_idx", "sign", "offset", "limits", "unit")


class JointMapError(UserError):
    """A joint map that cannot be one; the text names the key."""


@dataclass(frozen=True)
class JointMap:
    """``q_real[i] = sign[i] * q_sim[index[i]] + offset[i]``, then the real robot's unit.

    Built from the ``sim_to_real`` part of a motion VQ-VAE's configuration:

    >>> config = {"apply_sim_to_real_map": True, "real_dof": 3, "sim_to_real_idx": [2, 0, 1], "sign": [1, -1, 1]}
    >>> joint_map = JointMap.from_config(config, sim_dof=3)
    >>> joint_map.to_real(np.array([0.1, 0.2, 0.3]))
    array([ 0.3, -0.1,  0.2])
    >>> joint_map.to_sim(np.array([0.3, -0.1, 0.2]), reference=np.zeros(3))
    array([0.1, 0.2, 0.3])

    ``offset`` is in radians, ``limits`` (real_dof, 2) in radians of the real robot, None where it has none;
    ``per_radian`` is 1 for a robot that speaks radians and 180/pi for one that speaks degrees.
    """

    sim_dof: int
    index: np.ndarray
    sign: np.ndarray
    offset: np.ndarray
    limits: np.ndarray | None = None
    per_radian: float = 1.0

    @classmethod
    def from_config(cls, config: Mapping[str, Any], sim_dof: int) -> "JointMap":
        """Checks the keys of a motion VQ-VAE's YAML; with ``apply_sim_to_real_map`` false the orders are the same."""
        if not config.get("apply_sim_to_real_map", False):
            return cls(sim_dof, np.arange(sim_dof), np.ones(sim_dof), np.zeros(sim_dof))
        raw = config.get("sim_to_real_idx")
        if not isinstance(raw, Sequence) or not raw or not all(type(entry) is int for entry in raw):
            raise JointMapError("sim_to_real_idx must list, for each real joint, the number of its simulator joint")
        dof = len(raw)
        if config.get("real_dof") not in (None, dof):
            raise JointMapError(f"real_dof is {config['real_dof']} but sim_to_real_idx has {dof} entries")
        wrong = [entry for entry in raw if not 0 <= entry < sim_dof]
        if wrong:
            raise JointMapError(f"sim_to_real_idx names {wrong}; the simulator's joints are 0 to {sim_dof - 1}")
        if len(set(raw)) < dof:
            raise JointMapError(f"sim_to_real_idx names a simulator joint twice: {list(raw)}")
        sign = _numbers(config, "sign", (dof,), np.ones(dof))
        if not np.isin(sign, (-1, 1)).all():
            raise JointMapError(f"sign must hold 1 and -1 only, not {sign.tolist()}")
        limits = _numbers(config, "limits", (dof, 2), None) if config.get("limits") is not None else None
        if limits is not None and not (limits[:, 0] < limits[:, 1]).all():
            raise JointMapError("limits must be [lower, upper] with lower below upper for each real joint")
        unit = config.get("unit", "rad")
        if unit not in ("rad", "deg"):
            raise JointMapError(f"unit must be rad or deg, not {unit!r}")
        offset = _numbers(config, "offset", (dof,), np.zeros(dof))
        return cls(sim_dof, np.array(raw), sign, offset, limits, 180 / math.pi if unit == "deg" else 1.0)

    @classmethod
    def read(cls, path: str | Path, sim_dof: int | None = None) -> "JointMap":
        """From a VQ-VAE's YAML file (``agent: config: ...``, or the keys at the top)."""
        try:
            config = yaml.safe_load(Path(path).read_text())
        except (OSError, yaml.YAMLError) as error:
            raise JointMapError(f"cannot read the joint map in {path}: {error}") from None
        for section in ("agent", "config"):
            if isinstance(config, Mapping) and isinstance(config.get(section), Mapping):
                config = config[section]
        if not isinstance(config, Mapping) or "apply_sim_to_real_map" not in config:
            raise JointMapError(f"{path} has no apply_sim_to_real_map")
        dof = sim_dof if sim_dof is not None else config.get("num_joints")
        if type(dof) is not int:
            raise JointMapError(f"{path} does not say how many joints the simulator has (num_joints)")
        try:
            return cls.from_config(config, dof)
        except JointMapError as error:
            raise JointMapError(f"{path}: {error}") from None

    @property
    def real_dof(self) -> int:
        """Number of the real robot's joints."""
        return len(self.index)

    def to_real(self, q_sim: np.ndarray) -> np.ndarray:
        """Positions (..., real_dof) in the robot's unit for (..., sim_dof) rad."""
        return (self.sign * np.asarray(q_sim)[..., self.index] + self.offset) * self.per_radian

    def to_sim(self, q_real: np.ndarray, reference: np.ndarray) -> np.ndarray:
        """Positions (..., sim_dof) rad; joints that the real robot does not have keep ``reference``'s value."""
        radians = np.asarray(q_real) / self.per_radian
        q_sim = np.broadcast_to(reference, (*radians.shape[:-1], self.sim_dof)).astype(np.float64)
        q_sim[..., self.index] = self.sign * (radians - self.offset)
        return q_sim

    def velocity_to_sim(self, dq_real: np.ndarray) -> np.ndarray:
        """Velocities (..., sim_dof) rad/s; joints that the real robot does not have stand still."""
        dq_sim = np.zeros((*np.shape(dq_real)[:-1], self.sim_dof))
        dq_sim[..., self.index] = self.sign * np.asarray(dq_real) / self.per_radian
        return dq_sim

    def sim_limits(self) -> tuple[np.ndarray, np.ndarray]:
        """The real robot's ``limits`` as lower and upper bounds (sim_dof,) rad, infinite where it has none."""
        lower, upper = np.full(self.sim_dof, -np.inf), np.full(self.sim_dof, np.inf)
        if self.limits is not None:
            ends = self.sign[:, None] * (self.limits - self.offset[:, None])
            lower[self.index], upper[self.index] = ends.min(axis=1), ends.max(axis=1)
        return lower, upper


def _numbers(config: Mapping[str, Any], key: str, shape: tuple[int, ...], default: Any) -> np.ndarray:
    value = config.get(key)
    if value is None:
        return default
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise JointMapError(f"{key} must be numbers, not {value!r}") from None
    if array.shape != shape or not np.isfinite(array).all():
        raise JointMapError(f"{key} must be finite numbers of shape {shape}, not {value!r}")
    return array
