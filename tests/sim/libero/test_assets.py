"""Where LIBERO's assets are found, with a stand-in for the hub."""

import shutil
import sys
import types
from pathlib import Path

import pytest

from sim import assets as command
from sim.libero import assets, benchmark
from sim.libero.procedural.pack import MARKER


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine without assets, where the hub cannot be reached; returns its cache folder."""
    package = tmp_path / "libero"
    package.mkdir()
    monkeypatch.delenv("LIBERO_ASSETS", raising=False)
    monkeypatch.setenv("AMPLIFY_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(benchmark, "package_folder", lambda: package)
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub(error=ConnectionError("no route to host")))
    return tmp_path / "cache"


def hub(folder: Path | None = None, error: Exception | None = None) -> types.ModuleType:
    module = types.ModuleType("huggingface_hub")

    def snapshot_download(*_: object, **__: object) -> str:
        if error is not None:
            raise error
        return str(folder)

    module.snapshot_download = snapshot_download  # type: ignore[attr-defined]
    return module


def make_assets(folder: Path) -> Path:
    for name in assets.REQUIRED:
        (folder / name).mkdir(parents=True)
    return folder


def test_without_a_network_the_procedural_pack_is_used_and_says_so(nowhere: Path, caplog: pytest.LogCaptureFixture):
    found = assets.resolve()
    assert found.source == "procedural pack"
    assert found.procedural
    assert nowhere in found.path.parents
    assert "ConnectionError" in caplog.text
    assert "not comparable with published ones" in caplog.text
    assert "not comparable with published ones" in str(found)


def test_a_pack_that_is_named_is_still_known_as_the_pack(nowhere: Path):
    pack = assets.build()
    named = assets.resolve(pack.path)
    assert named.source == "--assets"
    assert named.procedural
    assert named.digest == pack.digest


@pytest.mark.parametrize("how", ["option", "variable"])
def test_the_pack_has_a_name_of_its_own(nowhere: Path, monkeypatch: pytest.MonkeyPatch, how: str):
    if how == "variable":
        monkeypatch.setenv("LIBERO_ASSETS", "pack")
    found = assets.resolve("pack" if how == "option" else None)
    assert (found.path, found.source) == (assets.build().path, "procedural pack")


def test_a_pack_is_known_wherever_it_was_copied_to(nowhere: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    pack = assets.build()
    copy = shutil.copytree(pack.path, tmp_path / "elsewhere" / "libero-assets")
    monkeypatch.setenv("LIBERO_ASSETS", str(copy))
    named = assets.resolve()
    assert named.source == "LIBERO_ASSETS"
    assert named.procedural
    assert named.digest == pack.digest
    (copy / MARKER).unlink()
    assert assets.resolve().digest == pack.digest, "the marker is no asset"


def test_a_finished_download_is_used_without_asking_again(nowhere: Path, tmp_path: Path, monkeypatch):
    snapshot = make_assets(tmp_path / "snapshot" / "assets")
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub(snapshot.parent))
    assert assets.resolve().path == snapshot
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub(error=AssertionError("asked again")))
    found = assets.resolve()
    assert (found.path, found.source) == (snapshot, "hub lerobot/libero-assets")
    assert not found.procedural


def test_the_order_is_option_variable_checkout_download(nowhere: Path, tmp_path: Path, monkeypatch):
    option, variable = make_assets(tmp_path / "option"), make_assets(tmp_path / "variable")
    checkout = make_assets(benchmark.package_folder() / "assets")
    assert assets.resolve().path == checkout
    monkeypatch.setenv("LIBERO_ASSETS", str(variable))
    assert assets.resolve().path == variable
    assert assets.resolve(option).path == option


def test_a_named_folder_that_is_wrong_is_an_error_and_not_passed_over(nowhere: Path, tmp_path: Path, monkeypatch):
    monkeypatch.setenv("LIBERO_ASSETS", str(tmp_path / "absent"))
    with pytest.raises(assets.AssetsMissing, match=r"absent \(from LIBERO_ASSETS\) is not a folder of LIBERO assets"):
        assets.resolve()


def test_status_says_what_is_used_and_makes_nothing(nowhere: Path, capsys: pytest.CaptureFixture):
    command.main(["status"])
    said = capsys.readouterr().out
    assert "->" not in said
    assert "not built" in said
    assert not nowhere.exists()
    command.main(["build"])
    assert "MB, digest" in capsys.readouterr().out
    command.main(["status"])
    assert "-> procedural pack" in capsys.readouterr().out


def test_download_that_fails_names_the_cause(nowhere: Path):
    with pytest.raises(assets.AssetsMissing, match="ConnectionError"):
        command.main(["download"])
