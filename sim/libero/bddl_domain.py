"""LIBERO's own environment object for a task: compiled once, then reset as if it had been made afresh.

LIBERO compiles its models again at every reset, which takes a second or two, and every compilation appends the
samplers of initial joint positions once more to the old ones, so that an episode depends on how many went before.
``reset`` starts the episode that ``env.seed(seed); env.reset()`` starts on a new ``OffScreenRenderEnv``, bit for bit.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import mujoco
import numpy as np

from common.conventions import CONTROL_FREQUENCY
from common.errors import UserError
from sim.libero import benchmark

CHANGED_BY_EPISODES = ("body_pos", "body_quat", "site_rgba")
"""What LIBERO writes into the compiled model: where fixtures stand, and which sites are seen."""
PLACEMENT_TRIES = 100


def build(task: benchmark.Task, assets: Path, cameras: list[str]) -> Any:
    """LIBERO's environment object (a ``BDDLBaseDomain``) for a task, without observables and renderer."""
    envs = benchmark.use_assets(assets)
    import robosuite
    from libero.libero.envs import bddl_utils

    base = envs.TASK_MAPPING[bddl_utils.get_problem_info(str(task.bddl_file))["problem_name"]]

    def initialize(problem: Any, xml_string: str | None = None) -> None:
        base._initialize_sim(problem, xml_string)
        problem.compiled = {name: getattr(problem.sim.model, name).copy() for name in CHANGED_BY_EPISODES}

    with _numpy_seeded(0):
        # Of the same name, because LIBERO compares the class's name with the task's.
        problem = type(base.__name__, (base,), {"_initialize_sim": initialize})(
            str(task.bddl_file),
            robots=["Panda"],
            controller_configs=robosuite.load_controller_config(default_controller="OSC_POSE"),
            gripper_types="default",
            initialization_noise=None,
            use_camera_obs=False,
            has_renderer=False,
            has_offscreen_renderer=False,
            control_freq=CONTROL_FREQUENCY,
            ignore_done=True,
            hard_reset=False,
            camera_names=cameras,
        )
    problem._observables = {}
    problem.samplers = problem.object_property_initializers
    return problem


def reset(problem: Any, seed: int) -> None:
    """Start an episode: fixtures, objects and joints are placed as ``seed`` says, whatever ran before.

    Args:
        problem: what ``build`` returned.
        seed: for numpy's global generator, from which LIBERO draws; it is put back afterwards.

    Raises:
        UserError: the objects could not be placed without overlap.
    """
    from robosuite.utils.errors import RandomizationError

    model, data = problem.sim.model._model, problem.sim.data._data
    with _numpy_seeded(seed):
        for tries in range(PLACEMENT_TRIES):
            for name, value in problem.compiled.items():
                getattr(model, name)[:] = value
            mujoco.mj_resetData(model, data)
            mujoco.mj_forward(model, data)
            problem.object_property_initializers = problem.samplers * (2 + tries)
            try:
                problem._reset_internal()
            except RandomizationError:
                continue
            break
        else:
            raise UserError(
                f"{Path(problem.bddl_file_name).stem}: objects could not be placed without overlap in "
                f"{PLACEMENT_TRIES} tries with seed {seed}; use another seed"
            )
    # A compilation makes a new gripper object, with a new command.
    gripper = problem.robots[0].gripper
    gripper.current_action = np.zeros(gripper.dof)
    mujoco.mj_forward(model, data)
    problem.visualize(vis_settings=dict.fromkeys(problem._visualizations, False))


def mjcf(problem: Any) -> str:
    """The model as MJCF text, with every body where the present episode has put it.

    MuJoCo's own ``mj_saveLastXML`` would write whichever model this process has loaded last.
    """
    root = ElementTree.fromstring(problem.model.get_xml())
    model = problem.sim.model._model
    for element in root.iter("body"):
        body = model.body(element.get("name"))
        moved = body.pos != problem.compiled["body_pos"][body.id]
        turned = body.quat != problem.compiled["body_quat"][body.id]
        if moved.any() or turned.any():
            for name in ("axisangle", "euler", "xyaxes", "zaxis"):
                element.attrib.pop(name, None)
            element.set("pos", " ".join(map(str, body.pos)))
            element.set("quat", " ".join(map(str, body.quat)))
    return ElementTree.tostring(root, encoding="unicode")


@contextlib.contextmanager
def _numpy_seeded(seed: int) -> Iterator[None]:
    """Seed numpy's global generator for a while and put it back."""
    before = np.random.get_state()  # noqa: NPY002
    np.random.seed(seed)  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(before)  # noqa: NPY002
