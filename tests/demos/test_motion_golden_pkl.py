"""Golden PKL files of the motion VQ-VAE: what joblib and pickle write is read exactly, what runs code refused."""

from pathlib import Path

import numpy as np
import pytest

from demos import safe_pickle
from demos.motion_files import read_pkl
from demos.safe_pickle import PickleError
from tests.tokenizer.golden import load
from tokenizer.joints.features import features_of
from tokenizer.joints.options import FeatureConfig


@pytest.mark.parametrize("name", ["multi_joblib", "multi_joblib_zlib", "multi_plain", "multi_plain_protocol2"])
def test_files_of_several_motions(golden: Path, tmp_path: Path, name: str) -> None:
    data = load(golden, "motion_vqvae_pkl")
    path = tmp_path / "motions.pkl"
    path.write_bytes(data["files"][name].numpy().tobytes())
    found = safe_pickle.load(path)
    assert list(found) == data["names"]
    for motion, arrays in data["arrays"].items():
        for key, reference in arrays.items():
            ours = found[motion][key]
            if isinstance(ours, np.ndarray):
                assert ours.dtype == reference.numpy().dtype
            np.testing.assert_array_equal(ours, np.asarray(reference))
    motions = read_pkl(path)
    assert [motion.frame_rate for motion in motions] == data["effective_fps"]
    assert (np.cumsum([len(motion) for motion in motions]) - 1).tolist() == data["end_indices"]
    config = FeatureConfig(smooth_root="source", smooth_joints="source")
    features = np.concatenate([features_of(motion, config) for motion in motions])
    np.testing.assert_allclose(features, data["features"], rtol=0, atol=2e-5)


def test_a_file_of_one_motion(golden: Path, tmp_path: Path) -> None:
    data = load(golden, "motion_vqvae_pkl")
    path = tmp_path / "walk.pkl"
    path.write_bytes(data["files"]["single_plain"].numpy().tobytes())
    [motion] = read_pkl(path)
    reference = data["arrays"]["walk_b"]
    np.testing.assert_array_equal(motion.joints, reference["dof"].float())
    np.testing.assert_array_equal(motion.root_pos, reference["root_trans_offset"].float())


def test_a_file_that_runs_code_is_refused(golden: Path, tmp_path: Path) -> None:
    path = tmp_path / "forbidden.pkl"
    path.write_bytes(load(golden, "motion_vqvae_pkl")["files"]["forbidden"].numpy().tobytes())
    with pytest.raises(PickleError, match=r"it asks for builtins.eval"):
        read_pkl(path)
