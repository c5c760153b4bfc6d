"""The command that looks at a machine."""

from pathlib import Path

import pytest

from sim import doctor
from tests.machines import run_after, without_egl
from tests.sim.examples import save_untrained_bundle


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    save_untrained_bundle(tmp_path / "untrained.safetensors")
    return tmp_path / "untrained.safetensors"


def test_a_machine_that_is_well_says_what_it_has(
    libero_assets: Path, tmp_path: Path, bundle: Path, capsys: pytest.CaptureFixture
):
    options = ["--checkpoint", bundle, "--assets", libero_assets, "--out", tmp_path / "new", "--workers", "1"]
    assert doctor.main(list(map(str, options))) == 0
    said = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in said] == [
        ["ok", subject]
        for subject in ("rendering", "disk", "cache", "memory", "versions", "device", "bundle", "assets")
    ]
    assert not (tmp_path / "new").exists(), "it only looks"


def test_each_shortcoming_comes_with_the_way_out(tmp_path: Path, bundle: Path, capsys: pytest.CaptureFixture):
    options = ["--checkpoint", tmp_path / "none", "--assets", tmp_path, "--out", bundle / "x", "--workers", "9999"]
    assert doctor.main([*map(str, options), "--device", "cuda:9"]) == 1
    said = capsys.readouterr().out
    for subject, mend in {
        "disk": "make room, or name another --out",
        "memory": "use --workers",
        "device": "use cpu",
        "assets": "point it at the 'assets' folder",
        "bundle": "name one with --checkpoint FILE",
    }.items():
        assert f"!! {subject}" in said
        assert f"-> {mend}" in said


def test_without_a_gl_library_it_names_the_packages(bundle: Path):
    done = run_after(without_egl(), ["sim.doctor", "--checkpoint", bundle], MUJOCO_GL="egl")
    assert done.returncode == 1
    assert "!! rendering  cannot render off screen with MUJOCO_GL=egl (its library is not installed)" in done.stdout
    assert "apt-get install libegl1" in done.stdout
    assert done.stderr == ""
