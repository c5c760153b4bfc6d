"""``robot.yaml``: everything about one robot, an arm or several, read once, checked, unknown keys refused.

``robot_bridge/configs/franka.yaml`` is the commented template; docs/robot.md has several arms.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import yaml

from common.conventions import CONTROL_FREQUENCY
from common.embodiment import ARM_UNITS, GRIPPER_KINDS, Embodiment, Group
from common.errors import UserError
from common.joint_map import KEYS, JointMap
from common.osc_response import POSITION_SCALE, ROTATION_SCALE, STIFFNESS
from robot_bridge.section import RobotConfigError, Section

CONFIGS = Path(__file__).with_name("configs")
TEMPLATES = tuple(sorted(file.stem for file in CONFIGS.glob("*.yaml")))
"""Names of the files that come with the package; they stand for them."""

Mode = Literal["osc_delta", "pose_delta", "pose_target", "joint_delta", "joint_target"]
"""What an action asks of an arm; ``common.embodiment.ARM_UNITS`` says each."""

ROBOSUITE_PANDA = "robosuite:panda"
"""The ``model`` in ``robot.yaml`` that is the arm which policies for LIBERO are trained with."""


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
    arms_apart: float = 0.05
    """m that several arms keep from each other."""

    def within(self, box: "Box | None") -> "SafetyConfig":
        """These limits, around an arm that has a box of its own."""
        if box is None:
            return self
        return replace(self, workspace_lower=box.lower, workspace_upper=box.upper, workspace_floor=box.floor)


@dataclass(frozen=True)
class Box:
    """Walls (3,) m for an end effector and a floor (m) for its arm, in its base's frame."""

    lower: np.ndarray
    upper: np.ndarray
    floor: float


@dataclass(frozen=True)
class GripperConfig:
    """A gripper, in the number that its driver speaks: the position of a finger in m, where ``unit`` says nothing else.

    ``action`` is what the policy's number means: ``sign``, ``opening`` or ``closing`` (``common.embodiment``).
    ``joints`` are those of ``model``, with their positions (rad or m) when closed and when open; the twin moves them.
    """

    open: float = 0.04
    closed: float = 0.0
    fingers: int = 2
    """How many numbers the driver says where it is with; of two the second is negative, as LIBERO's are."""
    action: Literal["sign", "opening", "closing"] = "sign"
    unit: str = "m"
    joints: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    def opening(self, action: float, before: float) -> float:
        """Where the fingers are to be; ``before`` is where they were told to be last."""
        if self.action == "sign":
            return before if action == 0 else self.closed if action > 0 else self.open
        share = min(max(action, 0.0), 1.0)
        return self.closed + (self.open - self.closed) * (share if self.action == "opening" else 1 - share)

    def to_reach(self, opening: float) -> float:
        """The policy's number that takes the fingers to ``opening``; where it only has a sign, to the nearer end."""
        share = (opening - self.closed) / (self.open - self.closed)
        return {"sign": -1.0 if share > 0.5 else 1.0, "opening": share, "closing": 1 - share}[self.action]

    def to_stay(self, opening: float) -> float:
        """The policy's number that leaves fingers where they are, at ``opening``."""
        return 0.0 if self.action == "sign" else self.to_reach(opening)


@dataclass(frozen=True)
class ArmConfig:
    """One arm of a robot. ``joints`` are names in ``model``; ``site`` is the point of it that the policy moves.

    ``base`` is the body whose frame poses and box are in, by default the world. ``box`` None: that of ``safety``.
    """

    name: str
    joints: tuple[str, ...]
    site: str
    base: str | None = None
    gripper: GripperConfig | None = GripperConfig()
    box: Box | None = None


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
    """One robot behind the two sockets of docs/robot_protocol.md: its arms share a clock, a stop and a joint map."""

    name: str
    arms: tuple[ArmConfig, ...]
    state_address: str
    target_address: str
    model: str
    """MJCF or URDF file, or ``robosuite:NAME``; used for inverse kinematics, the workspace box and recordings."""
    mode: Mode
    safety: SafetyConfig
    joint_map: JointMap
    rate: float = float(CONTROL_FREQUENCY)
    """Actions a second (Hz)."""
    home: np.ndarray | None = None
    """Where the arms begin, (n,) rad; the twin stands there."""
    camera_address: str | None = None
    """Where camera images come from, when not from ``state_address``."""
    cameras: Mapping[str, str] = field(default_factory=dict)
    """Policy view -> name that the robot's camera publishes under; views that are not named keep theirs."""
    camera_sizes: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """Policy view -> (height, width) that its camera must send; others may send any."""
    osc: OscConfig = OscConfig()
    latency: Latency = Latency()

    @property
    def joints(self) -> tuple[str, ...]:
        """Names in ``model``, arm by arm: the simulator's order."""
        return tuple(joint for arm in self.arms for joint in arm.joints)

    @property
    def slices(self) -> tuple[slice, ...]:
        """Which of ``joints`` are each arm's."""
        ends = np.cumsum([len(arm.joints) for arm in self.arms]).tolist()
        return tuple(slice(end - len(arm.joints), end) for arm, end in zip(self.arms, ends, strict=True))

    @property
    def grippers(self) -> tuple[GripperConfig, ...]:
        """Of the arms that have one, in their order."""
        return tuple(arm.gripper for arm in self.arms if arm.gripper is not None)

    @property
    def fingers(self) -> int:
        """How many finger positions a state has."""
        return sum(gripper.fingers for gripper in self.grippers)

    @property
    def is_training_arm(self) -> bool:
        """Whether the robot has the joints of the arm that policies for LIBERO are trained with."""
        return self.model == ROBOSUITE_PANDA

    @property
    def embodiment(self) -> Embodiment:
        """What its states and actions mean, arm by arm; of several arms the names begin with the arm's."""
        state, action = [], []
        for arm in self.arms:
            prefix = f"{arm.name}." if len(self.arms) > 1 else ""
            count = len(arm.joints)
            state += [Group.of(f"{prefix}joints", "joints", count), Group.of(f"{prefix}pose", "pose", 6)]
            action.append(Group.of(f"{prefix}arm", self.mode, count if self.mode.startswith("joint") else 6))
            if arm.gripper is not None:
                state.append(Group(f"{prefix}fingers", "fingers", arm.gripper.fingers, arm.gripper.unit))
                action.append(Group.of(f"{prefix}gripper", f"gripper_{arm.gripper.action}", 1))
        cameras = {view: self.camera_sizes.get(view) for view in self.cameras}
        return Embodiment(tuple(state), tuple(action), self.rate, cameras)


def robot_file(path: str | Path) -> Path:
    """Where a ``robot.yaml`` is; the names in ``TEMPLATES`` stand for the files that come with the package."""
    return CONFIGS / f"{path}.yaml" if str(path) in TEMPLATES else Path(path)


def read_mapping(file: Path) -> Any:
    """What stands in a ``robot.yaml``, unchecked."""
    try:
        return yaml.safe_load(file.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise RobotConfigError(f"cannot read the robot's configuration {file}: {error}") from None


def read_robot(path: str | Path) -> RobotConfig:
    """Reads and checks the ``robot.yaml`` that ``path`` names (``robot_file``)."""
    file = robot_file(path)
    return robot_of(read_mapping(file), file)


def robot_of(data: Any, file: Path) -> RobotConfig:
    """Checks what stands, or is to stand, in ``file``.

    Raises:
        RobotConfigError: it is no robot; the text names the file and the key.
    """
    try:
        return _robot(Section(data, ""), file.parent)
    except UserError as error:
        raise RobotConfigError(f"{file}: {error}") from None


def _robot(top: Section, folder: Path) -> RobotConfig:
    if "gripper_open" in top:
        raise RobotConfigError("gripper_open has become gripper: {open: 0.04}")
    mode = top.text("mode")
    if mode not in ARM_UNITS:
        raise RobotConfigError(f"mode must be one of {', '.join(ARM_UNITS)}, not {mode!r}")
    model = top.text("model")
    if not model.startswith("robosuite:"):
        model = str(folder / model)
    if "arms" in top:
        sections = top.section("arms")
        arms = tuple(_arm(name, sections.section(name), several=True) for name in sections.keys())  # noqa: SIM118
        sections.close()
        if not arms:
            raise RobotConfigError("arms must name at least one arm")
    else:
        arms = (_arm("arm", top, several=False),)
    names = [joint for arm in arms for joint in arm.joints]
    if len(set(names)) < len(names):
        raise RobotConfigError(f"a joint stands twice in {names}")
    dof = len(names)
    extra: dict[str, Any] = {}
    if "cameras" in top:
        extra["cameras"], extra["camera_sizes"] = _cameras(top.section("cameras"))
    if "camera_address" in top:
        extra["camera_address"] = top.text("camera_address")
    if "osc" in top:
        extra["osc"] = OscConfig(**_numbers_of(OscConfig, top.section("osc")))
    if "latency" in top:
        extra["latency"] = Latency(**_numbers_of(Latency, top.section("latency"), or_zero=True))
    if "rate" in top:
        extra["rate"] = top.positive("rate")
    if "home" in top:
        extra["home"] = top.numbers("home", dof)
    config = RobotConfig(
        name=top.text("name"),
        arms=arms,
        state_address=top.text("state_address"),
        target_address=top.text("target_address"),
        model=model,
        mode=mode,  # type: ignore[arg-type]
        safety=_safety(top.section("safety"), dof),
        joint_map=_joint_map(top, dof, folder),
        **extra,
    )
    top.close()
    return config


def _arm(name: str, section: Section, several: bool) -> ArmConfig:
    """Of its own section, or of the file's top where it is the only one."""
    extra: dict[str, Any] = {}
    if "base" in section:
        extra["base"] = section.text("base")
    if "gripper" in section:
        extra["gripper"] = _gripper(section)
    if several and "workspace" in section:
        workspace = section.section("workspace")
        extra["box"] = _box(workspace, f"arms.{name}.workspace")
        workspace.close()
    arm = ArmConfig(name, tuple(section.texts("joints")), section.text("site"), **extra)
    if several:
        section.close()
    return arm


def _gripper(parent: Section) -> GripperConfig | None:
    if parent.take("gripper") == "none":
        return None
    section = parent.section("gripper")
    values: dict[str, Any] = {key: section.number(key) for key in ("open", "closed") if key in section}
    if "fingers" in section:
        values["fingers"] = section.take("fingers")
        if type(values["fingers"]) is not int or values["fingers"] < 1:
            raise RobotConfigError(f"gripper.fingers must be 1, 2, ..., not {values['fingers']!r}")
    if "action" in section:
        values["action"] = section.text("action")
        if f"gripper_{values['action']}" not in GRIPPER_KINDS:
            raise RobotConfigError(f"gripper.action must be sign, opening or closing, not {values['action']!r}")
    if "unit" in section:
        values["unit"] = section.text("unit")
    if "joints" in section:
        joints = section.section("joints")
        values["joints"] = {name: tuple(joints.numbers(name, 2)) for name in joints.keys()}  # noqa: SIM118
        joints.close()
    section.close()
    config = GripperConfig(**values)
    if config.open == config.closed:
        raise RobotConfigError("gripper.open and gripper.closed must differ")
    return config


def _cameras(section: Section) -> tuple[dict[str, str], dict[str, tuple[int, int]]]:
    """``view: name``, or ``view: {name: ..., size: [height, width]}``."""
    names, sizes = {}, {}
    for view in section.keys():  # noqa: SIM118 (it notes what is read)
        if not isinstance(section.take(view), Mapping):
            names[view] = section.text(view)
            continue
        camera = section.section(view)
        names[view] = camera.text("name")
        height, width = (int(side) for side in camera.numbers("size", 2))
        sizes[view] = (height, width)
        camera.close()
    section.close()
    return names, sizes


def _numbers_of(kind: type, section: Section, or_zero: bool = False) -> dict[str, float]:
    """Those fields of a dataclass of numbers that the section has."""
    names = [entry.name for entry in fields(kind) if entry.name in section]
    values = {name: section.positive(name, or_zero) for name in names}
    section.close()
    return values


def _safety(section: Section, dof: int) -> SafetyConfig:
    position, workspace = section.section("position"), section.section("workspace")
    soft = section.section("soft_start") if "soft_start" in section else None
    values: dict[str, Any] = {
        "lower": position.numbers("lower", dof),
        "upper": position.numbers("upper", dof),
        "velocity": section.numbers("velocity", dof),
        "acceleration": section.numbers("acceleration", dof),
        "jerk": section.numbers("jerk", dof),
        "step": section.numbers("step", dof),
    }
    box = _box(workspace, "safety.workspace")
    values |= {"workspace_lower": box.lower, "workspace_upper": box.upper, "workspace_floor": box.floor}
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
        "arms_apart",
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
    if not config.hold_after < config.stop_after:
        raise RobotConfigError("safety.hold_after must be below stop_after")
    return config


def _box(section: Section, path: str) -> Box:
    box = Box(section.numbers("lower", 3), section.numbers("upper", 3), section.number("floor"))
    if not (box.lower < box.upper).all():
        raise RobotConfigError(f"{path}.lower must be below upper")
    if not box.floor < box.upper[2]:
        raise RobotConfigError(f"{path}.floor must be below the z of {path}.upper")
    return box


def _following(section: Section, dof: int) -> FollowingConfig:
    values: dict[str, Any] = {key: section.numbers(key, dof) for key in ("hold", "stop") if key in section}
    if "patience" in section:
        values["patience"] = section.positive("patience")
    section.close()
    config = FollowingConfig(**values)
    if not (np.greater(config.hold, 0).all() and np.less(config.hold, config.stop).all()):
        raise RobotConfigError("safety.following.hold must be above 0 and below stop for every joint")
    return config


def _joint_map(top: Section, dof: int, folder: Path) -> JointMap:
    value = top.take("joint_map")
    if isinstance(value, str):
        return JointMap.read(folder / value, dof)
    if not isinstance(value, Mapping):
        raise RobotConfigError("joint_map must be the path of a VQ-VAE's YAML or its keys")
    unknown = set(value) - set(KEYS)
    if unknown:
        raise RobotConfigError(f"joint_map has unknown keys {sorted(unknown)}; known are {list(KEYS)}")
    return JointMap.from_config(value, dof)
