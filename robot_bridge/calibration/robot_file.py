"""The ``robot.yaml`` that a calibration writes: the given one with what was measured in its place."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from common.files import replacing
from common.joint_map import JointMap
from robot_bridge.calibration.measurements import Measurements
from robot_bridge.config import Box, RobotConfig, robot_of
from robot_bridge.models import ROBOSUITE

WIDTH = 120
"""Characters of a line."""


def calibrated(
    given: Mapping[str, Any], config: RobotConfig, joint_map: JointMap, measurements: Measurements
) -> dict[str, Any]:
    """What the new file says. ``config`` is what was read of ``given``; a path in it becomes absolute."""
    data = dict(given)
    if not config.model.startswith(ROBOSUITE):
        data["model"] = str(Path(config.model).resolve())
    data["joint_map"] = _joint_map(joint_map)
    if "arms" in data:
        data["arms"] = {name: _arm(dict(section), name, measurements) for name, section in data["arms"].items()}
        return data
    (arm,) = config.arms
    data = _gripper(data, arm.name, measurements)
    if arm.name in measurements.boxes:
        data["safety"] = {**data["safety"], "workspace": _box(measurements.boxes[arm.name])}
    return data


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """What differs, a line each: ``joint_map.sign: [1, 1] -> [1, -1]``."""
    old, new = dict(_entries(before, "")), dict(_entries(after, ""))
    names = dict.fromkeys((*old, *new))
    missing = "(not there)"
    return [
        f"{name}: {old.get(name, missing)} -> {new.get(name, missing)}"
        for name in names
        if old.get(name) != new.get(name)
    ]


def write_robot(file: Path, data: Mapping[str, Any], about: str) -> None:
    """Writes ``data`` in one step, if it is a robot; the lines of ``about`` stand above it as comments.

    Raises:
        RobotConfigError: it is none, and nothing was written.
    """
    robot_of(data, file)
    comments = "".join(f"# {line}\n" for line in about.splitlines())
    with replacing(file) as temporary:
        temporary.write_text(
            comments + yaml.safe_dump(dict(data), sort_keys=False, default_flow_style=None, width=WIDTH)
        )


def _joint_map(joint_map: JointMap) -> dict[str, Any]:
    section: dict[str, Any] = {
        "apply_sim_to_real_map": True,
        "real_dof": joint_map.real_dof,
        "sim_to_real_idx": joint_map.index.tolist(),
        "sign": joint_map.sign.astype(int).tolist(),
        "offset": joint_map.offset.round(4).tolist(),
    }
    if joint_map.limits is not None:
        section["limits"] = joint_map.limits.tolist()
    if joint_map.per_radian != 1:
        section["unit"] = "deg"
    return section


def _arm(section: dict[str, Any], name: str, measurements: Measurements) -> dict[str, Any]:
    if name in measurements.boxes:
        section["workspace"] = _box(measurements.boxes[name])
    return _gripper(section, name, measurements)


def _gripper(section: dict[str, Any], arm: str, measurements: Measurements) -> dict[str, Any]:
    ends = {
        end: measurements.openings[f"{arm}.{end}"]
        for end in ("open", "closed")
        if f"{arm}.{end}" in measurements.openings
    }
    return {**section, "gripper": {**section.get("gripper", {}), **ends}} if ends else section


def _box(box: Box) -> dict[str, Any]:
    return {"lower": box.lower.tolist(), "upper": box.upper.tolist(), "floor": box.floor}


def _entries(data: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Everything but mappings, by its dotted name."""
    if isinstance(data, Mapping):
        for key, value in data.items():
            yield from _entries(value, f"{path}.{key}" if path else str(key))
    else:
        yield path, data
