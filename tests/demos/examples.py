"""Small made-up demonstrations and tracks that the tests of this folder share."""

import numpy as np

from demos.hdf5 import DemoHeader, Episode
from demos.tracks import Tracks

HEADER = DemoHeader(
    language="open the drawer",
    problem_name="libero_floor_manipulation",
    bddl_file_name="libero_10/open_the_drawer.bddl",
    env_kwargs={"robots": ["Panda"], "camera_heights": 8},
)


def make_episode(steps: int = 5, seed: int = 0, size: tuple[int, int] = (8, 6), **attributes: object) -> Episode:
    """An episode of random numbers whose images, states and actions are all different."""
    rng = np.random.default_rng(seed)
    return Episode(
        actions=rng.uniform(-1, 1, (steps, 7)),
        states=rng.normal(size=(steps, 11)),
        robot_states=rng.normal(size=(steps, 9)),
        rewards=(np.arange(steps) == steps - 1).astype(np.uint8),
        dones=(np.arange(steps) == steps - 1).astype(np.uint8),
        agentview_rgb=rng.integers(0, 256, (steps, *size, 3), dtype=np.uint8),
        eye_in_hand_rgb=rng.integers(0, 256, (steps, *size, 3), dtype=np.uint8),
        joint_states=rng.normal(size=(steps, 7)),
        gripper_states=rng.normal(size=(steps, 2)),
        ee_pos=rng.normal(size=(steps, 3)),
        ee_ori=rng.normal(size=(steps, 3)),
        actions_executed=rng.uniform(-1, 1, (steps, 7)),
        phases=rng.integers(0, 9, steps, dtype=np.uint8),
        openings=rng.uniform(0, 0.04, (steps, 1)),
        attributes=attributes,
    )


def make_tracks(steps: int = 5, points: int = 9, horizon: int = 16, seed: int = 0) -> dict[str, Tracks]:
    """Random tracks of two views, some of them outside the image."""
    rng = np.random.default_rng(seed)
    return {
        view: Tracks(
            rng.uniform(-2, 10, (steps, horizon, points, 2)).astype(np.float32),
            rng.integers(0, 2, (steps, horizon, points)).astype(np.float32),
        )
        for view in ("agentview", "eye_in_hand")
    }
