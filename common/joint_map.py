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
    """``q_real[index[s]] = sign[s] * q_sim[s] + offset[s]`` for every simulator joint s, then the robot's unit.

    ``index`` (sim_dof,) says where each simulator joint goes; -1: the robot does not have it. Joints of the robot that
    no entry names keep their reference value. Built from the ``sim_to_real`` part of a motion VQ-VAE's configuration,
    here with the simulator's joint 0 as the robot's joint 2:

    >>> config = {"apply_sim_to_real_map": True, "real_dof": 3, "sim_to_real_idx": [2, 0, 1], "sign": [1, -1, 1]}
    >>> joint_map = JointMap.from_config(config, sim_dof=3)
    >>> joint_map.to_real(np.array([0.1, 0.2, 0.3]))
    array([-0.2,  0.3,  0.1])
    >>> joint_map.to_sim(np.array([-0.2, 0.3, 0.1]), reference=np.zeros(3))
    array([0.1, 0.2, 0.3])

    ``sign`` and ``offset`` (sim_dof,), rad, belong to the simulator's joints; ``limits`` (real_dof, 2), rad, to the
    robot's, None where it has none. ``per_radian`` is 1 for a robot that speaks radians, 180/pi for degrees.
    """

    index: np.ndarray
    sign: np.ndarray
    offset: np.ndarray
    real_dof: int
    limits: np.ndarray | None = None
    per_radian: float = 1.0

    @classmethod
    def from_config(cls, config: Mapping[str, Any], sim_dof: int) -> "JointMap":
        """Checks the keys of a motion VQ-VAE's YAML; with ``apply_sim_to_real_map`` false the orders are the same."""
        if not config.get("apply_sim_to_real_map", False):
            return cls(np.arange(sim_dof), np.ones(sim_dof), np.zeros(sim_dof), sim_dof)
        index, dof = config.get("sim_to_real_idx"), config.get("real_dof")
        if type(dof) is not int or dof < 1:
            raise JointMapError(f"real_dof must be the number of the robot's joints, not {dof!r}")
        if not isinstance(index, Sequence) or not index or not all(type(entry) is int for entry in index):
            raise JointMapError("sim_to_real_idx must list, for each simulator joint, its number on the robot or -1")
        if len(index) != sim_dof:
            raise JointMapError(f"sim_to_real_idx has {len(index)} entries; the simulator has {sim_dof} joints")
        wrong = [entry for entry in index if not -1 <= entry < dof]
        if wrong:
            raise JointMapError(f"sim_to_real_idx names {wrong}; the robot's joints are 0 to {dof - 1}")
        named = [entry for entry in index if entry >= 0]
        if len(set(named)) < len(named):
            raise JointMapError(f"sim_to_real_idx names a joint of the robot twice: {list(index)}")
        sign = _numbers(config, "sign", (sim_dof,), np.ones(sim_dof))
        if not np.isin(sign, (-1, 1)).all():
            raise JointMapError(f"sign must hold 1 and -1 only, not {sign.tolist()}")
        limits = _numbers(config, "limits", (dof, 2), None) if config.get("limits") is not None else None
        if limits is not None and not (limits[:, 0] < limits[:, 1]).all():
            raise JointMapError("limits must be [lower, upper] with lower below upper for each joint of the robot")
        unit = config.get("unit", "rad")
        if unit not in ("rad", "deg"):
            raise JointMapError(f"unit must be rad or deg, not {unit!r}")
        offset = _numbers(config, "offset", (sim_dof,), np.zeros(sim_dof))
        return cls(np.array(index), sign, offset, dof, limits, 180 / math.pi if unit == "deg" else 1.0)

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
    def sim_dof(self) -> int:
        """Number of the simulator's joints."""
        return len(self.index)

    @property
    def present(self) -> np.ndarray:
        """Which of the simulator's joints (sim_dof,) the robot has."""
        return self.index >= 0

    def to_real(self, q_sim: np.ndarray, reference: np.ndarray | None = None) -> np.ndarray:
        """Positions (..., real_dof) in the robot's unit for (..., sim_dof) rad.

        Joints that no entry names keep ``reference``'s value (real_dof,), robot's unit.

        Raises:
            ValueError: there are such joints, and no reference.
        """
        present = self.present
        if reference is None:
            if present.sum() < self.real_dof:
                raise ValueError("the robot has joints that the map does not name; where they are must be given")
            reference = np.zeros(self.real_dof)
        radians = np.asarray(q_sim) * self.sign + self.offset
        q_real = np.broadcast_to(reference, (*radians.shape[:-1], self.real_dof)).astype(np.float64)
        q_real[..., self.index[present]] = radians[..., present] * self.per_radian
        return q_real

    def to_sim(self, q_real: np.ndarray, reference: np.ndarray) -> np.ndarray:
        """Positions (..., sim_dof) rad; joints that the robot does not have keep ``reference``'s value, rad."""
        radians = np.asarray(q_real)[..., self.index] / self.per_radian
        return np.where(self.present, self.sign * (radians - self.offset), reference)

    def velocity_to_sim(self, dq_real: np.ndarray) -> np.ndarray:
        """Velocities (..., sim_dof) rad/s; joints that the robot does not have stand still."""
        return np.where(self.present, self.sign * np.asarray(dq_real)[..., self.index] / self.per_radian, 0.0)

    def sim_limits(self) -> tuple[np.ndarray, np.ndarray]:
        """The robot's ``limits`` as lower and upper bounds (sim_dof,) rad, infinite where it has none."""
        if self.limits is None:
            return np.full(self.sim_dof, -np.inf), np.full(self.sim_dof, np.inf)
        ends = self.sign[:, None] * (self.limits[self.index] - self.offset[:, None])
        lower, upper = ends.min(axis=1), ends.max(axis=1)
        return np.where(self.present, lower, -np.inf), np.where(self.present, upper, np.inf)


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
