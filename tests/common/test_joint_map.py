"""The joint map: both directions, whatever the map, and every mistake in the file has a name."""

import doctest

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import common.joint_map
from common.joint_map import JointMap, JointMapError


def mapping(index: list[int], **keys) -> dict:
    """The keys of a map, real_dof as long as the list where it is not given."""
    return {"apply_sim_to_real_map": True, "real_dof": len(index), "sim_to_real_idx": index, **keys}


@st.composite
def maps(draw: st.DrawFn) -> JointMap:
    """Joints that only the simulator has, joints that only the robot has, and any order of the others."""
    sim_dof, real_dof = draw(st.integers(1, 10)), draw(st.integers(1, 10))
    places = draw(st.permutations([*range(real_dof), *[-1] * sim_dof]))
    config = mapping(
        list(places[:sim_dof]),
        real_dof=real_dof,
        sign=draw(st.lists(st.sampled_from([-1, 1]), min_size=sim_dof, max_size=sim_dof)),
        offset=draw(st.lists(st.floats(-3, 3), min_size=sim_dof, max_size=sim_dof)),
        limits=[[-1.5, 2.0]] * real_dof,
        unit=draw(st.sampled_from(["rad", "deg"])),
    )
    return JointMap.from_config(config, sim_dof)


@given(joint_map=maps(), seed=st.integers(0, 999))
def test_there_and_back_is_where_it_began(joint_map: JointMap, seed: int):
    rng = np.random.default_rng(seed)
    q_sim, q_real = rng.uniform(-3, 3, (2, joint_map.sim_dof)), rng.uniform(-3, 3, (2, joint_map.real_dof))
    there = joint_map.to_real(q_sim, reference=q_real[0])
    np.testing.assert_allclose(joint_map.to_sim(there, reference=q_sim[1])[1], q_sim[1])
    back = joint_map.to_sim(q_real, reference=q_sim[0])
    np.testing.assert_allclose(joint_map.to_real(back, reference=q_real[1])[1], q_real[1])


@given(joint_map=maps(), seed=st.integers(0, 999))
def test_joints_without_a_counterpart_keep_the_reference(joint_map: JointMap, seed: int):
    rng = np.random.default_rng(seed)
    sim, real = rng.uniform(-3, 3, joint_map.sim_dof), rng.uniform(-3, 3, joint_map.real_dof)
    alone = joint_map.index == -1
    np.testing.assert_array_equal(joint_map.to_sim(rng.uniform(-3, 3, joint_map.real_dof), sim)[alone], sim[alone])
    assert (joint_map.velocity_to_sim(np.ones(joint_map.real_dof))[alone] == 0).all()
    unnamed = np.setdiff1d(np.arange(joint_map.real_dof), joint_map.index)
    np.testing.assert_array_equal(joint_map.to_real(sim, real)[unnamed], real[unnamed])
    if len(unnamed):
        with pytest.raises(ValueError, match="does not name"):
            joint_map.to_real(sim)


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
        real = joint_map.to_real(np.where(joint_map.present, end, 0), np.full(joint_map.real_dof, np.nan))
        ends = (real / joint_map.per_radian)[joint_map.index[joint_map.present]]
        assert np.isclose(ends[:, None], [-1.5, 2.0]).any(axis=1).all()
        np.testing.assert_array_equal(np.isfinite(end), joint_map.present)
    assert (lower < upper).all()


def test_an_order_that_is_not_its_own_inverse_says_where_each_joint_goes():
    joint_map = JointMap.from_config(mapping([3, 0, 1, 2], sign=[1, -1, 1, 1], offset=[0, 0, 0.5, 0]), 4)
    np.testing.assert_allclose(joint_map.to_real(np.array([1.0, 2.0, 3.0, 4.0])), [-2.0, 3.5, 4.0, 1.0])
    np.testing.assert_allclose(joint_map.to_sim(np.array([-2.0, 3.5, 4.0, 1.0]), np.zeros(4)), [1.0, 2.0, 3.0, 4.0])
    np.testing.assert_allclose(joint_map.velocity_to_sim(np.array([1.0, 2.0, 3.0, 4.0])), [4.0, -1.0, 2.0, 3.0])


def test_the_23_joints_of_a_simulated_humanoid_drive_29_and_its_wrists_stay():
    index = [*range(19), *range(22, 26)]
    limits = [[-0.1 * place - 0.1, 0.1 * place + 0.2] for place in range(29)]
    joint_map = JointMap.from_config(mapping(index, real_dof=29, limits=limits), 23)
    wrists = [19, 20, 21, 26, 27, 28]
    q_sim, q_real = np.arange(23) / 10, np.full(29, 7.0)
    told = joint_map.to_real(q_sim, q_real)
    np.testing.assert_array_equal(told[wrists], 7.0)
    np.testing.assert_allclose(told[22:26], [1.9, 2.0, 2.1, 2.2])
    np.testing.assert_allclose(joint_map.to_sim(told, np.zeros(23)), q_sim)
    np.testing.assert_array_equal(joint_map.velocity_to_sim(np.arange(29.0)), index)
    np.testing.assert_allclose(joint_map.sim_limits()[1], [0.1 * place + 0.2 for place in index])


def test_joints_that_the_robot_lacks_have_no_place_speed_or_limit_there():
    limits = [[-1, 1], [-2, 2], [-3, 3], [-4, 4], [-5, 5], [-6, 6]]
    joint_map = JointMap.from_config(mapping([3, -1, 0, -1, 1], real_dof=6, limits=limits, sign=[-1, 1, 1, -1, 1]), 5)
    told = joint_map.to_real(np.array([1.0, 2.0, 3.0, 4.0, 5.0]), np.full(6, 9.0))
    np.testing.assert_array_equal(told, [3, 5, 9, -1, 9, 9])
    np.testing.assert_array_equal(joint_map.to_sim(told, np.full(5, 8.0)), [1, 8, 3, 8, 5])
    np.testing.assert_array_equal(joint_map.velocity_to_sim(np.arange(6.0)), [-3, 0, 0, 0, 1])
    lower, upper = joint_map.sim_limits()
    np.testing.assert_array_equal(lower, [-4, -np.inf, -1, -np.inf, -2])
    np.testing.assert_array_equal(upper, [4, np.inf, 1, np.inf, 2])


def test_it_maps_as_the_motion_vqvae_does(golden):
    torch = pytest.importorskip("torch")
    data = torch.load(golden / "motion_vqvae_sim_to_real.pt", weights_only=True)
    for case in data["cases"]:
        index = case["sim_to_real_idx"]
        joint_map = JointMap.from_config(mapping(index, real_dof=case["real_dof"]), len(index))
        # Where it has no counterpart for a joint it writes 0.
        np.testing.assert_array_equal(joint_map.to_real(case["sim"], np.zeros(case["real_dof"])), case["real"])
        np.testing.assert_array_equal(joint_map.to_sim(case["other_real"], np.zeros(len(index))), case["other_sim"])
    for wrong in data["invalid"]:
        with pytest.raises(JointMapError, match="sim_to_real_idx names"):
            JointMap.from_config(mapping(wrong["sim_to_real_idx"], real_dof=wrong["real_dof"]), 2)


def test_the_example_in_the_documentation_runs():
    assert doctest.testmod(common.joint_map, extraglobs={"np": np}).failed == 0


def test_without_a_map_the_orders_are_the_same():
    joint_map = JointMap.from_config({"apply_sim_to_real_map": False, "real_dof": None, "sim_to_real_idx": None}, 3)
    np.testing.assert_array_equal(joint_map.to_real(np.arange(3.0)), np.arange(3.0))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sim_to_real_idx": None}, "sim_to_real_idx must list"),
        ({"sim_to_real_idx": [0, 1.5, 1]}, "sim_to_real_idx must list"),
        ({"sim_to_real_idx": [True, 0, -1]}, "sim_to_real_idx must list"),
        ({"sim_to_real_idx": [0, -1, 2]}, "joints are 0 to 1"),
        ({"sim_to_real_idx": [0, -2, 1]}, r"names \[-2\]"),
        ({"sim_to_real_idx": [1, 1, -1]}, "twice"),
        ({"sim_to_real_idx": [1, 0]}, "has 2 entries; the simulator has 3"),
        ({"real_dof": 1}, "joints are 0 to 0"),
        ({"real_dof": None}, "real_dof must be"),
        ({"real_dof": 2.0}, "real_dof must be"),
        ({"sign": [1, 2, 1]}, "1 and -1"),
        ({"sign": [1]}, "shape"),
        ({"offset": ["a", "b", "c"]}, "offset must be"),
        ({"offset": [0, 0, float("nan")]}, "finite"),
        ({"limits": [[0, 1], [2, 1]]}, "lower below upper"),
        ({"limits": [[0, 1]] * 3}, "shape"),
        ({"unit": "grad"}, "rad or deg"),
    ],
)
def test_a_wrong_map_is_refused_by_name(change: dict, message: str):
    config = {**mapping([1, -1, 0]), "real_dof": 2, **change}
    with pytest.raises(JointMapError, match=message):
        JointMap.from_config(config, sim_dof=3)


def test_it_is_read_from_a_vqvae_s_yaml(tmp_path):
    file = tmp_path / "agent.yaml"
    options = ("num_joints: 3", "apply_sim_to_real_map: true", "sim_to_real_idx: [1, -1, 0]", "real_dof: 2")
    file.write_text("agent:\n  config:\n" + "".join(f"    {line}\n" for line in options))
    np.testing.assert_array_equal(JointMap.read(file).to_real(np.array([1.0, 2.0, 3.0])), [3, 1])
    file.write_text("agent: 3")
    with pytest.raises(JointMapError, match="apply_sim_to_real_map"):
        JointMap.read(file)
