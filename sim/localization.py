"""Measure whether a policy sees where things lie: move an object, and see how far its next waypoint moves along.

Of each task the object that is to be grasped first is moved a little to each side, in the simulator, before anything
else happens. A policy that sees where it lies moves the place where its fingers will close by as much (slope 1); one
that has learned where objects usually lie does not (slope 0). "off" is how far that place is, on average, from where it
should have moved to. It needs a policy that predicts waypoints (see docs/policy.md), no success, and seconds a task.

example: python -m sim.localization --checkpoint runs/mine.safetensors --suite libero_object,libero_10
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import mujoco
import numpy as np
from rich.progress import track

from common import cli
from common.cli import not_negative, positive
from common.errors import UserError
from policy import DEFAULT_BUNDLE, load_policy
from sim.experts.expert import next_object
from sim.experts.world import World
from sim.libero import assets, benchmark
from sim.libero.env import LiberoEnv
from sim.libero.selection import parse_suites, parse_tasks
from sim.machine import gl_driver

SIDES = np.array([[1.0, 0], [-1, 0], [0, 1], [0, -1]])
"""Directions (x, y) that objects are moved in."""

Waypoint = Callable[[dict[str, np.ndarray]], np.ndarray]
"""observation of ``LiberoEnv`` -> where the fingers will close, (3,) metres"""


@dataclass(frozen=True)
class Localization:
    """What moving objects by ``shift`` (m) did to the waypoint: its moves (n, 2) in metres, one for each of the
    objects' moves (n, 2), both in the plane of the table."""

    objects: np.ndarray
    waypoint: np.ndarray

    @property
    def slope(self) -> float:
        """The part of the objects' moves that the waypoint follows, by least squares."""
        return float((self.objects * self.waypoint).sum() / np.square(self.objects).sum())

    @property
    def off(self) -> float:
        """Mean distance (m) of the waypoint from where it would be had it moved along."""
        return float(np.linalg.norm(self.waypoint - self.objects, axis=1).mean())

    def __str__(self) -> str:
        return f"slope {self.slope:5.2f}, off {self.off * 1000:5.1f} mm"


def localization(env: LiberoEnv, init_states: range, shift: float, waypoint: Waypoint) -> Localization | None:
    """Moves the object that is to be grasped first by ``shift`` metres from where it lies in each initial state.

    None where the task begins with something else, such as a drawer.
    """
    objects: list[np.ndarray] = []
    moves: list[np.ndarray] = []
    for init_state in init_states:
        env.restart(seed=init_state, init_state=init_state)
        env.settle()
        name = next_object(World(env))
        if name is None:
            return None
        joint = env.data.joint(env.problem.get_object(name).joints[0])
        place = joint.qpos[:2].copy()
        before = waypoint(env.observe())
        for side in SIDES:
            joint.qpos[:2] = place + shift * side
            mujoco.mj_forward(env.model, env.data)
            objects.append(shift * side)
            moves.append((waypoint(env.observe()) - before)[:2])
    return Localization(np.stack(objects), np.stack(moves))


def main(argv: list[str]) -> None:
    """Parse the command line, measure, print."""
    parser = cli.CommandParser("sim.localization", __doc__)
    parser.add_argument("--checkpoint", type=Path, default=DEFAULT_BUNDLE, metavar="FILE", help="bundle")
    parser.add_argument("--suite", default="libero_object", help="a suite, or several (a,b); default libero_object")
    parser.add_argument("--tasks", metavar="LIST", help="task numbers, e.g. 0,5 or 0-4; default: all")
    parser.add_argument("--shift", type=float, default=0.015, metavar="M", help="metres (default 0.015)")
    parser.add_argument("--episodes", type=positive, default=4, metavar="N", help="initial states a task (default 4)")
    parser.add_argument("--first", type=not_negative, default=40, metavar="K", help="the first of them (default 40)")
    parser.add_argument("--assets", type=Path, metavar="DIR", help="LIBERO's assets, or 'pack'; see docs/assets.md")
    arguments = parser.parse_args(argv)
    tasks = [
        benchmark.task(suite, index)
        for suite in parse_suites([arguments.suite])
        for index in parse_tasks(arguments.tasks, suite)
    ]
    gl_driver.probe()
    found = assets.resolve(arguments.assets)
    policy = load_policy(arguments.checkpoint)
    fast = bool(policy.describe().get("fast_render", False))
    states = range(arguments.first, arguments.first + arguments.episodes)
    print(f"{policy.name} {policy.digest}; assets {found}; objects moved by {arguments.shift * 1000:g} mm")
    measured: list[Localization] = []
    for task in track(tasks, "tasks", transient=True):
        env = LiberoEnv(task.suite, task.index, assets=found.path, image_size=max(policy.image_size), fast_render=fast)

        def waypoint(observation: dict[str, np.ndarray], text: str = task.language) -> np.ndarray:
            images, proprio = observation["images"][None], observation["proprio"][None]
            return policy.predict_waypoints(images, proprio, [text])[0, 0]

        result = localization(env, states, arguments.shift, waypoint)
        env.close()
        if result is not None:
            measured.append(result)
            print(
                f"slope {result.slope:5.2f}, off {result.off * 1000:5.1f} mm: {task.suite} {task.index} {task.language}"
            )
    if not measured:
        raise UserError("none of these tasks begins with an object to grasp; name others")
    together = Localization(
        np.concatenate([one.objects for one in measured]), np.concatenate([one.waypoint for one in measured])
    )
    print(f"{together}: all {len(measured)} tasks")


if __name__ == "__main__":
    cli.run(main)
