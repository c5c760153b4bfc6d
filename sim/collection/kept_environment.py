"""The environment that a worker process keeps for its next episode, and what files of demonstrations say about it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from common.conventions import CONTROL_FREQUENCY
from demos.hdf5 import DemoHeader

if TYPE_CHECKING:
    from sim.libero.env import LiberoEnv


@dataclass(frozen=True)
class Rendering:
    """How demonstrations are rendered; all of it as ``LiberoEnv`` takes it."""

    assets: str
    image_size: int
    fast_render: bool


_kept: list["LiberoEnv"] = []


def kept_environment(suite: str, index: int, rendering: Rendering) -> "LiberoEnv":
    """The environment of a task: that of this process's last call if it was the same task, else a new one."""
    from sim.libero.env import LiberoEnv

    if _kept and (_kept[0].task.suite, _kept[0].task.index) != (suite, index):
        _kept.pop().close()
    if not _kept:
        _kept.append(
            LiberoEnv(
                suite,
                index,
                assets=rendering.assets,
                image_size=rendering.image_size,
                fast_render=rendering.fast_render,
            )
        )
    return _kept[0]


def header_of(env: "LiberoEnv") -> DemoHeader:
    """What a file of demonstrations that were rendered in ``env`` says about it."""
    from sim.libero.env import CAMERAS

    robot, (height, width) = env.problem.robots[0], env.image_size
    return DemoHeader(
        language=env.task.language,
        problem_name=env.problem.parsed_problem["problem_name"],
        bddl_file_name=f"{env.task.suite}/{env.task.bddl_file.name}",
        bddl_file_content=env.task.bddl_file.read_text(),
        env_kwargs={
            "robots": ["Panda"],
            "controller_configs": {
                key: value
                for key, value in robot.controller_config.items()
                if isinstance(value, str | int | float | bool | list | type(None))
            },
            "control_freq": CONTROL_FREQUENCY,
            "camera_names": list(CAMERAS.values()),
            "camera_heights": height,
            "camera_widths": width,
            "multisampling": not env.fast_render,
            "assets_digest": env.assets.digest,
        },
    )
