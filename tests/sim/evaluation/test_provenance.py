"""What stands beside scores."""

from datetime import datetime
from pathlib import Path

import pytest

from sim.evaluation.provenance import machine, notes, now
from sim.libero.assets import Assets
from sim.libero.procedural import build
from sim.machine.gl_driver import Driver


@pytest.fixture
def assets(tmp_path: Path) -> Assets:
    """A folder of assets with a digest of its own."""
    (tmp_path / "wall.xml").write_text("<mujoco/>")
    return Assets(tmp_path, "--assets")


def test_the_procedural_pack_is_not_comparable(tmp_path: Path):
    pack = Assets(build(tmp_path), "LIBERO_ASSETS")
    (note,) = notes(pack, {})
    assert "not comparable with published ones" in note


@pytest.mark.parametrize("learned", [None, "", []])
def test_nothing_is_said_where_it_is_not_known_what_a_policy_learned_from(assets: Assets, learned: object):
    assert notes(assets, {"assets": learned}) == notes(assets, {}) == []


def test_assets_that_the_policy_learned_from_need_no_note(assets: Assets):
    assert notes(assets, {"assets": assets.digest}) == []
    assert notes(assets, {"assets": ["0123456789abcdef", assets.digest]}) == []


def test_other_assets_than_the_policy_learned_from_are_named_and_so_are_its_own(assets: Assets):
    (note,) = notes(assets, {"assets": ["0123456789abcdef"]})
    assert "learned from the assets 0123456789abcdef" in note
    assert f"this run uses {assets.digest} (--assets)" in note


def test_what_episodes_were_played_on_has_names():
    class InThisProcess:
        device = "cpu"

    driver = Driver("egl", "Mesa", "llvmpipe", "4.5")
    described = machine(driver, InThisProcess())  # type: ignore[arg-type]
    assert described["cpu"]
    assert described["gl"] == {"backend": "egl", "vendor": "Mesa", "renderer": "llvmpipe", "version": "4.5"}
    assert described["policy_device"] == "cpu"
    assert machine(driver, None)["policy_device"] is None


def test_dates_have_their_zone():
    assert datetime.fromisoformat(now()).tzinfo is not None
