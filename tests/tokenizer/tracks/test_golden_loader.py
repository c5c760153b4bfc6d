"""The tokenizer's samples are those of the published loader, whatever the horizons."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from demos.roots import DataRoots
from demos.tracks import track_folder
from tests.tokenizer.golden import load
from tokenizer.tracks.options import TokenizerConfig
from tokenizer.tracks.recipe import track_frames

DEFAULT = TokenizerConfig(num_tracks=16, img_shape=(32, 32))


@pytest.fixture(scope="module")
def published(golden: Path) -> dict[str, Any]:
    return load(golden, "loader")


@pytest.fixture(scope="module")
def root(published: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The published loader's demonstration and tracks, as files."""
    root = tmp_path_factory.mktemp("loader")
    (root / "libero_10").mkdir()
    with h5py.File(root / "libero_10" / "put_the_bowl_demo.hdf5", "w") as file:
        for key, values in published["raw_demo_0"].items():
            file[f"data/demo_0/{key if key == 'actions' else f'obs/{key}'}"] = values.numpy()
    tracks = track_folder(root, "libero_10", "put_the_bowl_demo.hdf5") / "demo_0.hdf5"
    tracks.parent.mkdir(parents=True)
    with h5py.File(tracks, "w") as file:
        for view, arrays in published["tracks_demo_0"].items():
            for key, values in arrays.items():
                file[f"root/{view}/{key}"] = values.numpy()
    return root


@pytest.mark.parametrize(
    ("case", "config"),
    [
        ("default", DEFAULT),
        ("horizon10_linear8", replace(DEFAULT, true_horizon=10, track_pred_horizon=8)),
        ("horizon16_spline8", replace(DEFAULT, track_pred_horizon=8, interp_method="spline")),
    ],
)
def test_golden_samples(published: dict[str, Any], root: Path, case: str, config: TokenizerConfig) -> None:
    frames = track_frames(DataRoots(root, root), ("libero_10:traj1.0",), replace(config, cond_on_img=True))
    for sample in published["cases"][case]["samples"].values():
        batch = frames.frames_in_batch(np.array([sample["idx_dict"]["start_t"]]))
        np.testing.assert_allclose(batch["tracks"][0], sample["out"]["traj"].numpy(), atol=1e-6)
        np.testing.assert_allclose(batch["images"][0] / np.float32(255), sample["out"]["images"].numpy(), atol=1e-6)
