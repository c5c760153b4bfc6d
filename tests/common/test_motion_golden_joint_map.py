"""Golden joint maps of the motion VQ-VAE: a scatter, not a gather, and what cannot be a map is refused."""

from pathlib import Path

import numpy as np
import pytest
import torch

from common.joint_map import JointMap, JointMapError


def test_maps_scatter_and_gather_back(golden: Path) -> None:
    data = torch.load(golden / "motion_vqvae_sim_to_real.pt", weights_only=True)
    for case in [*data["cases"], {**data["worked_example"], "name": "worked example"}]:
        index, dof = case["sim_to_real_idx"], case["real_dof"]
        keys = {"apply_sim_to_real_map": True, "real_dof": dof, "sim_to_real_idx": index}
        joint_map = JointMap.from_config(keys, len(index))
        nothing = np.zeros(len(index)), np.zeros(dof)
        real = joint_map.to_real(np.asarray(case["sim"], np.float32), nothing[1])
        np.testing.assert_array_equal(real.astype(np.float32), np.asarray(case["real"], np.float32), case["name"])
        if "back" in case:
            back = joint_map.to_sim(case["real"].numpy(), nothing[0])
            np.testing.assert_array_equal(back.astype(np.float32), case["back"], case["name"])
            other = joint_map.to_sim(case["other_real"].numpy(), nothing[0])
            np.testing.assert_array_equal(other.astype(np.float32), case["other_sim"], case["name"])
    for case in data["invalid"]:
        keys = {"apply_sim_to_real_map": True, **case}
        with pytest.raises(JointMapError):
            JointMap.from_config(keys, len(case["sim_to_real_idx"]))
