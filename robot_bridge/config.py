"""``robot.yaml``: everything about one arm, read once, checked, unknown keys refused.

``robot_bridge/configs/franka.yaml`` is the commented template.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

import numpy as np
import yaml

from common.errors import UserError
from common.joint_map import KEYS, JointMap
from common.osc_response import POSITION_SCALE, ROTATION_SCALE, STIFFNESS

CONFIGS = Path(__file__).with_name("configs")


ROBOSUITE_PANDA = "robosuite:panda"
"""The ``model`` in ``robot.yaml`` that is the arm which policies for LIBERO are trained with."""


class RobotConfigError(UserError):
    """A ``robot.yaml`` that is missing something or says something impossible; the text names the key."""


@dataclass(frozen=True)
class FollowingConfig:
    """How far a joint may be from where it should be by now: rad, for each of (n,) joints or for all; s.

    Beyond ``hold`` the arm holds, held for ``patience`` or beyond ``stop`` it stops.
    """

    hold: np.ndarray | float = 0.15
    stop: np.ndarray | float = 0.4
    patience: float = 0.5


@dataclass(frozen=True)
class SafetyConfig:
    """Limits of the safety filter; joint arrays (n,) in simulator order.

    lower, upper, margin, tolerance, step: rad; velocity: rad/s; acceleration: rad/s^2; jerk: rad/s^3; workspace: m,
    base frame; times: s.
    """

    lower: np.ndarray
    upper: np.ndarray
    velocity: np.ndarray
    acceleration: np.ndarray
    jerk: np.ndarray
    step: np.ndarray
    workspace_lower: np.ndarray
    workspace_upper: np.ndarray
    workspace_floor: float
    """Height that no part of the arm goes below; the walls, lower and upper, are for the end effector."""
    margin: float = 0.05
    tolerance: float = 0.02
    overspeed: float = 1.5
    action_expiry: float = 1.0
    hold_after: float = 0.5
    stop_after: float = 2.0
    state_timeout: float = 0.2
    camera_timeout: float = 0.5
    soft_start_seconds: float = 2.0
    soft_start_from: float = 0.1
    following: FollowingConfig = FollowingConfig()


@dataclass(frozen=True)
class OscConfig:
    """How LIBERO's OSC_POSE controller answers an action; the defaults are those the policies are trained with."""

    position_scale: float = POSITION_SCALE
    """metres for an action of 1"""
    rotation_scale: float = ROTATION_SCALE
    """radians for an action of 1"""
    stiffness: float = STIFFNESS
    """1/s^2, critically damped"""


@dataclass(frozen=True)
class Latency:
    """How late things are, in seconds; a chunk's first actions have passed by then and are skipped.

    camera: from exposure until an image is here, where the camera does not say so itself. arm: how long after the
    control period of a target the arm gets there; the report of a run says what it was.
    """

    camera: float = 0.0
    arm: float = 0.0


@dataclass(frozen=True)
class RobotConfig:
    """One arm behind the two sockets of docs/robot_protocol.md."""

    name: str
    joints: tuple[str, ...]
    """Names in ``model``, simulator order."""
    state_address: str
    target_address: str
    model: str
    """MJCF or URDF file, or ``robosuite:panda``; used for inverse kinematics, the workspace box and recordings."""
    site: str
    """Name of the site in ``model`` that the policy moves."""
    mode: Literal["osc_delta", "joint_target"]
    safety: SafetyConfig
    joint_map: JointMap
    home: np.ndarray | None = None
    """Where the arm begins, (n,) rad."""
    gripper_open: float = 0.04
    """Position (m) of one finger when open."""
    camera_address: str | None = None
    """Where camera images come from, when not from ``state_address``."""
    cameras: Mapping[str, str] = field(default_factory=dict)
    """Policy view -> name that the robot's camera publishes under; views that are not named keep theirs."""
    osc: OscConfig = OscConfig()
    latency: Latency = Latency()

    @property
    def is_training_arm(self) -> bool:
        """Whether the robot has the joints of the arm that policies for LIBERO are trained with."""
        return self.model == ROBOSUITE_PANDA


def read_robot(path: str | Path) -> RobotConfig:
    """Reads and checks ``robot.yaml``; ``twin`` and ``franka`` name the files that come with the package."""
    file = CONFIGS / f"{path}.yaml" if str(path) in ("twin", "franka") else Path(path)
    try:
        data = yaml.safe_load(file.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise RobotConfigError(f"cannot read the robot's configuration {file}: {error}") from None
    try:
        return _robot(_Section(data, ""), file.parent)
    except (RobotConfigError, UserError) as error:
        raise RobotConfigError(f"{file}: {error}") from None


def _robot(top: "_Section", folder: Path) -> RobotConfig:
    names = top.texts("joints")
    dof = len(names)
    mode = top.text("mode")
    if mode not in ("osc_delta", "joint_target"):
        raise RobotConfigError(f"mode must be osc_delta or joint_target, not {mode!r}")
    model = top.text("model")
    if not model.startswith("robosuite:"):
        model = str(folder / model)
    extra: dict[str, Any] = {}
    if "cameras" in top:
        section = top.section("cameras")
        extra["cameras"] = {view: section.text(view) for view in section.keys()}  # noqa: SIM118 (it notes what is read)
        section.close()
    if "camera_address" in top:
        extra["camera_address"] = top.text("camera_address")
    if "osc" in top:
        extra["osc"] = OscConfig(**_numbers_of(OscConfig, top.section("osc")))
    if "latency" in top:
        extra["latency"] = Latency(**_numbers_of(Latency, top.section("latency"), or_zero=True))
    if "home" in top:
        extra["home"] = top.numbers("home", dof)
    if "gripper_open" in top:
        extra["gripper_open"] = top.positive("gripper_open")
    config = RobotConfig(
        name=top.text("name"),
        joints=tuple(names),
        state_address=top.text("state_address"),
        target_address=top.text("target_address"),
        model=model,
        site=top.text("site"),
        mode=mode,  # type: ignore[arg-type]
        safety=_safety(top.section("safety"), dof),
        joint_map=_joint_map(top, dof, folder),
        **extra,
    )
    top.close()
    return config


def _numbers_of(kind: type, section: "_Section", or_zero: bool = False) -> dict[str, float]:
    """Those fields of a dataclass of numbers that the section has."""
    names = [entry.name for entry in fields(kind) if entry.name in section]
    values = {name: section.positive(name, or_zero) for name in names}
    section.close()
    return values


def _safety(section: "_Section", dof: int) -> SafetyConfig:
    position, workspace = section.section("position"), section.section("workspace")
    soft = section.section("soft_start") if "soft_start" in section else None
    values: dict[str, Any] = {
        "lower": position.numbers("lower", dof),
        "upper": position.numbers("upper", dof),
        "velocity": section.numbers("velocity", dof),
        "acceleration": section.numbers("acceleration", dof),
        "jerk": section.numbers("jerk", dof),
        "step": section.numbers("step", dof),
        "workspace_lower": workspace.numbers("lower", 3),
        "workspace_upper": workspace.numbers("upper", 3),
        "workspace_floor": workspace.number("floor"),
    }
    if "margin" in position:
        values["margin"] = position.positive("margin")
    if soft is not None:
        values["soft_start_seconds"], values["soft_start_from"] = soft.positive("seconds"), soft.positive("from")
        soft.close()
    if "following" in section:
        values["following"] = _following(section.section("following"), dof)
    for key in (
        "tolerance",
        "overspeed",
        "action_expiry",
        "hold_after",
        "stop_after",
        "state_timeout",
        "camera_timeout",
    ):
        if key in section:
            values[key] = section.positive(key)
    for part in (position, workspace, section):
        part.close()
    config = SafetyConfig(**values)
    for key in ("velocity", "acceleration", "jerk", "step"):
        if not (values[key] > 0).all():
            raise RobotConfigError(f"safety.{key} must be above 0 for every joint")
    if not (config.lower + 2 * config.margin < config.upper).all():
        raise RobotConfigError("safety.position leaves no room between lower and upper and their margin")
    if not (config.workspace_lower < config.workspace_upper).all():
        raise RobotConfigError("safety.workspace.lower must be below upper")
    if not config.workspace_floor < config.workspace_upper[2]:
        raise RobotConfigError("safety.workspace.floor must be below the z of safety.workspace.upper")
    if not config.hold_after < config.stop_after:
        raise RobotConfigError("safety.hold_after must be below stop_after")
    return config


def _following(section: "_Section", dof: int) -> FollowingConfig:
    values: dict[str, Any] = {key: section.numbers(key, dof) for key in ("hold", "stop") if key in section}
    if "patience" in section:
        values["patience"] = section.positive("patience")
    section.close()
    config = FollowingConfig(**values)
    if not (np.greater(config.hold, 0).all() and np.less(config.hold, config.stop).all()):
        raise RobotConfigError("safety.following.hold must be above 0 and below stop for every joint")
    return config


def _joint_map(top: "_Section", dof: int, folder: Path) -> JointMap:
    value = top.take("joint_map")
    if isinstance(value, str):
        return JointMap.read(folder / value, dof)
    if not isinstance(value, Mapping):
        raise RobotConfigError("joint_map must be the path of a VQ-VAE's YAML or its keys")
    unknown = set(value) - set(KEYS)
    if unknown:
        raise RobotConfigError(f"joint_map has unknown keys {sorted(unknown)}; known are {list(KEYS)}")
    return JointMap.from_config(value, dof)


class _Section:
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

    def section(self, key: str) -> "_Section":
        return _Section(self.take(key), f"{self._path}{key}.")

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
