"""How far a waypoint follows an object that is moved."""

from pathlib import Path

import numpy as np
import pytest

from common.errors import UserError
from sim import localization as command
from sim.experts.world import World
from sim.libero.env import LiberoEnv
from sim.localization import localization
from tests.sim.examples import save_untrained_bundle


def test_who_sees_the_object_follows_it_and_who_does_not_stays(libero_assets: Path) -> None:
    env = LiberoEnv("libero_object", 0, assets=libero_assets, image_size=16)
    sees = localization(env, range(40, 42), 0.015, lambda _: World(env).position("alphabet_soup_1"))
    assert sees is not None
    assert sees.slope == pytest.approx(1, abs=1e-3)
    assert sees.off < 1e-4
    stays = localization(env, range(40, 41), 0.015, lambda _: np.array([0.1, 0.2, 0.3]))
    assert stays is not None
    assert (stays.slope, stays.off) == pytest.approx((0, 0.015))
    env.close()


def test_a_task_that_begins_with_a_drawer_has_no_object_to_move(libero_assets: Path) -> None:
    env = LiberoEnv("libero_goal", 0, assets=libero_assets, image_size=16)
    assert localization(env, range(40, 41), 0.015, lambda _: np.zeros(3)) is None
    env.close()


def test_a_policy_without_waypoints_is_refused(libero_assets: Path, tmp_path: Path) -> None:
    bundle = tmp_path / "untrained.safetensors"
    save_untrained_bundle(bundle)
    with pytest.raises(UserError, match="predicts no waypoints"):
        command.main(["--checkpoint", str(bundle), "--tasks", "0", "--episodes", "1", "--assets", str(libero_assets)])
