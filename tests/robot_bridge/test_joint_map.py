"""The joint map: both directions, whatever the map, and every mistake in the file has a name."""

import doctest

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import robot_bridge.joint_map
from robot_bridge.joint_map import JointMap, JointMapError


@st.composite
def maps(draw: st.DrawFn) -> JointMap:
    sim_dof = draw(st.integers(1, 10))
    index = draw(st.permutations(range(sim_dof)))[: draw(st.integers(1, sim_dof))]
    dof = len(index)
    config = {
        "apply_sim_to_real_map": True,
        "real_dof": dof,
        "sim_to_real_idx": list(index),
        "sign": draw(st.lists(st.sampled_from([-1, 1]), min_size=dof, max_size=dof)),
        "offset": draw(st.lists(st.floats(-3, 3), min_size=dof, max_size=dof)),
        "limits": [[-1.5, 2.0]] * dof,
        "unit": draw(st.sampled_from(["rad", "deg"])),
    }
    return JointMap.from_config(config, sim_dof)


@given(joint_map=maps(), seed=st.integers(0, 999))
def test_there_and_back_is_where_it_began(joint_map: JointMap, seed: int):
    rng = np.random.default_rng(seed)
    q_sim, q_real = rng.uniform(-3, 3, (2, joint_map.sim_dof)), rng.uniform(-3, 3, (2, joint_map.real_dof))
    np.testing.assert_allclose(joint_map.to_sim(joint_map.to_real(q_sim), reference=q_sim[1])[1], q_sim[1])
    np.testing.assert_allclose(joint_map.to_real(joint_map.to_sim(q_real, reference=q_sim[0])), q_real)


@given(joint_map=maps(), seed=st.integers(0, 999))
def test_joints_without_a_counterpart_keep_the_reference(joint_map: JointMap, seed: int):
    rng = np.random.default_rng(seed)
    reference = rng.uniform(-3, 3, joint_map.sim_dof)
    q_sim = joint_map.to_sim(rng.uniform(-3, 3, joint_map.real_dof), reference)
    alone = np.setdiff1d(np.arange(joint_map.sim_dof), joint_map.index)
    np.testing.assert_array_equal(q_sim[alone], reference[alone])
    assert (joint_map.velocity_to_sim(np.ones(joint_map.real_dof))[alone] == 0).all()


@given(joint_map=maps(), seed=st.integers(0, 999))
def test_velocities_are_the_derivative_of_positions(joint_map: JointMap, seed: int):
    rng = np.random.default_rng(seed)
    q, dq = rng.uniform(-3, 3, (2, joint_map.real_dof))
    reference = np.zeros(joint_map.sim_dof)
    moved = joint_map.to_sim(q + dq, reference) - joint_map.to_sim(q, reference)
    np.testing.assert_allclose(joint_map.velocity_to_sim(dq), moved, atol=1e-12)


@given(joint_map=maps())
def test_the_real_limits_hold_in_the_simulator_s_order(joint_map: JointMap):
    lower, upper = joint_map.sim_limits()
    for end in (lower, upper):
        real = joint_map.to_real(np.where(np.isfinite(end), end, 0)) / joint_map.per_radian
        assert np.isclose(real[:, None], [-1.5, 2.0]).any(axis=1).all()
    assert (lower < upper).all()


def test_the_example_in_the_documentation_runs():
    assert doctest.testmod(robot_bridge.joint_map, extraglobs={"np": np}).failed == 0


def test_without_a_map_the_orders_are_the_same():
    joint_map = JointMap.from_config({"apply_sim_to_real_map": False, "real_dof": None, "sim_to_real_idx": None}, 3)
    np.testing.assert_array_equal(joint_map.to_real(np.arange(3.0)), np.arange(3.0))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sim_to_real_idx": None}, "sim_to_real_idx must list"),
        ({"sim_to_real_idx": [0, 1.5]}, "sim_to_real_idx must list"),
        ({"sim_to_real_idx": [0, 3]}, "joints are 0 to 2"),
        ({"sim_to_real_idx": [1, 1]}, "twice"),
        ({"real_dof": 5}, "real_dof is 5"),
        ({"sign": [1, 2]}, "1 and -1"),
        ({"sign": [1]}, "shape"),
        ({"offset": ["a", "b"]}, "offset must be"),
        ({"offset": [0, float("nan")]}, "finite"),
        ({"limits": [[0, 1], [2, 1]]}, "lower below upper"),
        ({"unit": "grad"}, "rad or deg"),
    ],
)
def test_a_wrong_map_is_refused_by_name(change: dict, message: str):
    config = {"apply_sim_to_real_map": True, "real_dof": 2, "sim_to_real_idx": [2, 0], **change}
    with pytest.raises(JointMapError, match=message):
        JointMap.from_config(config, sim_dof=3)


def test_it_is_read_from_a_vqvae_s_yaml(tmp_path):
    file = tmp_path / "agent.yaml"
    options = ("num_joints: 3", "apply_sim_to_real_map: true", "sim_to_real_idx: [2, 0]", "real_dof: 2")
    file.write_text("agent:\n  config:\n" + "".join(f"    {line}\n" for line in options))
    np.testing.assert_array_equal(JointMap.read(file).to_real(np.array([1.0, 2.0, 3.0])), [3, 1])
    file.write_text("agent: 3")
    with pytest.raises(JointMapError, match="apply_sim_to_real_map"):
        JointMap.read(file)
