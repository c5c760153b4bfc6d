"""Kinematics of the Panda: where its parts are, and what inverse kinematics may and may not be trusted with."""

import numpy as np
import pytest

pytest.importorskip("mink")
pytest.importorskip("robosuite")

import mujoco

from robot_bridge.config import read_robot
from robot_bridge.kinematics import Kinematics
from robot_bridge.models import load_model, model_spec
from robot_bridge.panda import HOME

CONFIG = read_robot("twin")
LOWER, UPPER = CONFIG.safety.lower, CONFIG.safety.upper


@pytest.fixture(scope="module")
def arm() -> Kinematics:
    return Kinematics(load_model(CONFIG.model), CONFIG.joints, CONFIG.arms[0].site, "base")


def lowest_vertex(model: mujoco.MjModel, data: mujoco.MjData) -> float:
    """Height (m) of the lowest point of the moving links' shapes: links 3 to 7, hand and fingers."""
    heights = []
    for geom in range(model.ngeom):
        name = model.body(model.geom_bodyid[geom]).name
        mesh = model.geom_dataid[geom]
        if name in ("base", "link0", "link1", "link2") or mesh < 0:
            continue
        first = model.mesh_vertadr[mesh]
        vertices = model.mesh_vert[first : first + model.mesh_vertnum[mesh] : 3]
        heights.append((vertices @ data.geom_xmat[geom, 6:]).min() + data.geom_xpos[geom, 2])
    return min(heights)


def test_the_spheres_stand_for_the_arm_s_shape_near_a_table(arm: Kinematics):
    model = model_spec("robosuite:panda").compile()
    data = mujoco.MjData(model)
    rng = np.random.default_rng(0)
    seen = 0
    while seen < 60:
        data.qpos[:7] = rng.uniform(LOWER, UPPER)
        data.qpos[7:9] = [0.04, -0.04] if seen % 2 else [0, 0]
        mujoco.mj_kinematics(model, data)
        lowest = lowest_vertex(model, data)
        if lowest > 0.25:
            continue
        seen += 1
        spheres = (arm.centres(data.qpos[None, :7])[0, :, 2] - arm.radii).min()
        assert -0.03 < spheres - lowest < 0.01


def test_the_first_sphere_is_the_end_effector(arm: Kinematics):
    path = np.random.default_rng(0).uniform(LOWER, UPPER, (5, 7))
    for q, centres in zip(path, arm.centres(path), strict=True):
        np.testing.assert_allclose(centres[0], arm.pose(q)[0], atol=1e-12)
    assert arm.radii[0] == 0


def test_how_far_the_hand_reaches_below_the_end_effector(arm: Kinematics):
    _, rotation = arm.pose(np.array(HOME))
    assert arm.depth(rotation) == pytest.approx(0.013, abs=2e-3)  # the tips of the fingers, when the hand points down
    lying = rotation @ np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0.0]])
    assert arm.depth(lying) > 0.03


def test_joints_stay_in_the_range_that_is_given(arm: Kinematics):
    q = np.array(HOME)
    lower, upper = q - 0.05, q + 0.05
    position, rotation = arm.pose(q)
    goal = position + np.array([0.2, 0, 0])
    found = arm.solve(goal, rotation, q, lower, upper)
    assert (found >= lower - 1e-9).all()
    assert (found <= upper + 1e-9).all()
    assert np.abs(arm.pose(found)[0] - position).max() < 0.15
    free = arm.solve(goal, rotation, q)
    np.testing.assert_allclose(arm.pose(free)[0], goal, atol=1e-3)


def test_another_arm_is_guarded_at_its_joints_and_where_its_model_says_so():
    model = mujoco.MjModel.from_xml_string(
        """<mujoco><worldbody><body name="base" pos="1 0 0.5"><body name="upper">
        <joint name="a" axis="0 1 0"/><geom size="0.01"/>
        <body name="lower" pos="0.4 0 0"><joint name="b" axis="0 1 0"/><geom size="0.01"/>
        <site name="tool" pos="0.3 0 0"/><site name="guard_fist" pos="0.3 0 0.1" size="0.07"/>
        </body></body></body></worldbody></mujoco>"""
    )
    arm = Kinematics(model, ["a", "b"], "tool", "base")
    np.testing.assert_allclose(arm.radii, [0, 0.07, 0, 0])
    expected = [[0.7, 0, 0], [0.7, 0, 0.1], [0, 0, 0], [0.4, 0, 0]]
    np.testing.assert_allclose(arm.centres(np.zeros((1, 2)))[0], expected, atol=1e-12)
    assert arm.depth(np.eye(3)) == pytest.approx(0)
    assert arm.depth(np.diag([1.0, -1, -1])) == pytest.approx(0.17)
