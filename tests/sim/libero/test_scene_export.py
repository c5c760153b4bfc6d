"""LIBERO tasks as scenes for the digital twin."""

from pathlib import Path

import mujoco
import numpy as np
import pytest

from sim.libero.env import LiberoEnv
from sim.libero.scene_export import scene_of


@pytest.fixture(scope="module")
def kitchen(libero_assets: Path):
    """A task with a cabinet, a stove and a rack, which the reset places."""
    env = LiberoEnv("libero_goal", 0, image_size=48)
    env.restart(seed=3, init_state=3)
    env.settle()
    yield env
    env.close()


def test_everything_stands_where_it_stands_in_the_task(kitchen: LiberoEnv):
    model, data = _started(kitchen)
    for number in range(1, model.nbody):
        name = model.body(number).name
        if name != "robot_base":
            there = kitchen.data.body(name)
            np.testing.assert_allclose(data.xpos[number], there.xpos, atol=1e-6, err_msg=name)
            assert abs(data.xquat[number] @ there.xquat) == pytest.approx(1, abs=1e-6), name


def test_nothing_moves_when_nobody_touches_it(kitchen: LiberoEnv):
    model, data = _started(kitchen)
    before = data.xpos.copy()
    mujoco.mj_step(model, data, nstep=500)
    assert not data.warning.number.any()
    np.testing.assert_allclose(data.xpos, before, atol=2e-3)


def _started(env: LiberoEnv) -> tuple[mujoco.MjModel, mujoco.MjData]:
    model = scene_of(env).compile()
    data = mujoco.MjData(model)
    mujoco.mj_resetDataKeyframe(model, data, model.key("start").id)
    mujoco.mj_forward(model, data)
    return model, data
