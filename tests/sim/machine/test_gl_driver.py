"""Which driver renders, and what a machine without one says."""

import pytest

from common.gl import RenderingUnavailable
from sim.machine import gl_driver
from sim.machine.gl_driver import Driver


def test_the_driver_that_renders_says_its_name():
    driver = gl_driver.probe()
    assert driver.backend in str(driver)
    assert driver.renderer
    assert driver.vendor
    assert driver.version


@pytest.mark.parametrize(
    ("renderer", "expected"),
    [("llvmpipe (LLVM 15.0.6, 256 bits)", True), ("NVIDIA H100 PCIe/PCIe/SSE2", False), ("softpipe", True)],
)
def test_drawing_in_software_is_known(renderer: str, expected: bool):
    assert Driver("egl", "somebody", renderer, "4.5").in_software is expected


def test_a_backend_that_there_is_not_is_named_with_the_way_out(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MUJOCO_GL", "crayons")
    with pytest.raises(RenderingUnavailable, match=r"MUJOCO_GL=crayons .*install EGL or OSMesa") as caught:
        gl_driver.probe()
    assert "\n" not in str(caught.value)


def test_a_driver_that_does_not_answer_is_given_up(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(gl_driver, "PATIENCE", 0.01)
    with pytest.raises(RenderingUnavailable, match="has not answered for 0 s"):
        gl_driver.probe()
