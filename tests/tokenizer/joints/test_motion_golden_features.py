"""Golden data of the motion VQ-VAE: clips, velocities, features, statistics, windows, and the way back to motions."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common.joint_map import JointMap
from demos.motion import Motion, on_the_robot
from demos.motion_files import clip_starts, motions_of
from tests.tokenizer.golden import load
from tokenizer.joints.features import features_of, heading, integrate, motion_of, smoothed, velocities
from tokenizer.joints.options import FeatureConfig

SOURCE = FeatureConfig(smooth_root="source", smooth_joints="source")


@pytest.fixture(scope="module")
def data(golden: Path) -> dict[str, Any]:
    return load(golden, "motion_vqvae_features")


@pytest.fixture(scope="module")
def motions(data: dict[str, Any]) -> list[Motion]:
    return motions_of(data["trajectory"].numpy(), "golden")


def close(ours: np.ndarray, reference: Any, tolerance: float = 1e-5) -> None:
    reference = np.asarray(reference)
    np.testing.assert_allclose(ours, reference, rtol=0, atol=tolerance * max(1.0, np.abs(reference).max()))


def joined(parts: list[np.ndarray]) -> np.ndarray:
    return np.concatenate(parts)


def test_clips_begin_where_the_flag_falls(data: dict[str, Any], motions: list[Motion]) -> None:
    for case in data["segmentation"]:
        flags = np.array(case["flags"])
        assert clip_starts(flags) == case["clip_start"], case["name"]
        rows = np.zeros((len(flags), 12))
        rows[:, 0], rows[:, 4], rows[:, -1] = np.arange(len(flags)) / 30, 1, flags
        assert [len(motion) for motion in motions_of(rows, "golden")] == case["kept_lengths"], case["name"]
    assert [len(motion) for motion in motions] == data["clip_num_frames"]
    assert (np.cumsum([len(motion) for motion in motions]) - 1).tolist() == data["end_indices"]
    close(np.array([motion.frame_rate for motion in motions]), data["fps"])
    for name in ("seconds", "stable_seconds", "transition_seconds"):
        ours = np.array([getattr(motion, name) for motion in motions])
        close(ours, data[name.replace("seconds", "length_s")], 1e-6)


def test_velocities_are_the_sources(data: dict[str, Any], motions: list[Motion]) -> None:
    arrays = data["arrays"]
    found = [velocities(motion, SOURCE) for motion in motions]
    close(joined([v.linear for v in found]), arrays["root_vel"])
    close(joined([v.joints for v in found]), arrays["dof_vel"])
    close(joined([v.angular for v in found]), arrays["root_ang_vel"], 1e-3)  # the source's float32 logarithm
    close(joined([motion.root_pos for motion in motions]), arrays["root_pos"], 0)
    close(joined([motion.joints for motion in motions]), arrays["dof_pos"], 0)
    close(joined([motion.root_rot for motion in motions]), arrays["root_rot_xyzw"], 1e-7)


def test_features_are_the_sources(data: dict[str, Any], motions: list[Motion]) -> None:
    found = joined([features_of(motion, SOURCE) for motion in motions])
    exact = np.delete(np.arange(50), 3)  # all but the yaw, which has the source's float32 logarithm
    close(found[:, exact], data["features"][:, exact])
    close(found, data["features"], 2e-5)


@pytest.mark.parametrize(("name", "expmap"), [("state_quat", False), ("state_expmap", True)])
def test_the_state_layout_is_what_the_source_computes(
    data: dict[str, Any], motions: list[Motion], name: str, expmap: bool
) -> None:
    config = FeatureConfig("state", prefer_expmap=expmap, smooth_root="source", smooth_joints="source")
    found, reference = joined([features_of(motion, config) for motion in motions]), data[name].numpy().copy()
    if not expmap:  # signs of quaternions are free
        reference[:, 3:7] *= np.sign((reference[:, 3:7] * found[:, 3:7]).sum(1, keepdims=True))
    pose = 6 if expmap else 7
    angular = np.arange(pose + 3, pose + 6)
    rest = np.delete(np.arange(found.shape[1]), angular)
    close(found[:, rest], reference[:, rest])
    close(found[:, angular], reference[:, angular], 1e-3)


def test_short_clips_and_mapped_joints(data: dict[str, Any]) -> None:
    short, mapped = data["short_clips_5dof"], data["short_clips_mapped_7dof"]
    motions = motions_of(short["trajectory"].numpy(), "golden")
    close(joined([features_of(motion, SOURCE) for motion in motions]), short["features"], 2e-5)
    keys = {"apply_sim_to_real_map": True, "real_dof": 7, "sim_to_real_idx": mapped["sim_to_real_idx"]}
    on_robot = [on_the_robot(motion, JointMap.from_config(keys, 5)) for motion in motions]
    close(joined([motion.joints for motion in on_robot]), mapped["mapped_dof"], 1e-7)
    close(joined([features_of(motion, SOURCE) for motion in on_robot]), mapped["features"], 2e-5)


def test_smoothing_is_the_sources(data: dict[str, Any]) -> None:
    helpers = data["helpers"]
    close(smoothed(helpers["smooth_in"].numpy().astype(np.float64), "source"), helpers["smooth_out"])


def test_the_integrator_is_the_sources_with_the_row_that_it_should_read(golden: Path) -> None:
    data = load(golden, "motion_vqvae_reconstruct")
    case = data["integrator"]
    position, rotation = integrate(case["deltas"].numpy(), case["start_pos"].numpy(), case["start_yaw"])
    close(position, case["aligned_index"]["root_pos"])
    close(rotation, case["aligned_index"]["root_rot_xyzw"])
    close(heading(data["euler"]["quat_xyzw"].numpy()), data["euler"]["rpy"][:, 2])
    planar = data["motion"][0]
    original = motions_of(planar["trajectory"].numpy(), "golden")[0]
    close(features_of(original, SOURCE), planar["features"], 2e-5)
    again = motion_of(planar["features"].numpy(), SOURCE, planar["fps"], start=original)
    close(again.joints, planar["aligned_index"]["dof"], 0)
    close(again.root_pos[:, :2], planar["aligned_index"]["root_pos"][:, :2])
    close(again.root_rot, planar["aligned_index"]["root_rot_xyzw"])
