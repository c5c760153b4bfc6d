"""The Franka driver with franky-sim behind it, over libfranka's network protocol.

Both want an environment of their own; FRANKA_PYTHON names its interpreter:
python -m venv franka && franka/bin/pip install franky-control==2.0.0 franky-sim==1.0.4 pyzmq msgpack pyyaml
"""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from robot_bridge.drivers.conformance import Probe
from tests.robot_bridge.drivers.programs import (
    Cell,
    Program,
    keeps_every_rule,
    stands_until_reset_and_then_goes,
    wait_for_fault,
)

PYTHON = os.environ.get("FRANKA_PYTHON", "")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PYTHON, reason="FRANKA_PYTHON names no Python with franky-control and franky-sim"),
]


class FrankaCell(Cell):
    """The simulated arm and its driver."""

    def __init__(self, folder: Path):
        super().__init__(folder, "franka", "192.168.1.10")

    def start_arm(self) -> Program:
        self.arm = Program(PYTHON, "tests/robot_bridge/drivers/franka_simulator.py")
        self.arm.out.wait_for("ready", 60)
        return self.arm

    def start_driver(self, *options: str) -> Program:
        module = ("-m", "robot_bridge.drivers.franka", "127.0.0.1", "--no-realtime")
        self.driver = Program(PYTHON, *module, *self.addresses, *options)
        self.driver.out.wait_for("^franka: state at", 60)
        return self.driver

    def probe(self) -> Probe:
        return Probe(self.state, self.target, 7, joint=6, reach=0.1, per_radian=1.0)


@pytest.fixture
def cell(tmp_path) -> Iterator[FrankaCell]:
    cell = FrankaCell(tmp_path)
    yield cell
    cell.close()


def test_it_keeps_every_rule_of_the_protocol(cell: FrankaCell):
    keeps_every_rule(cell, 90)


def test_a_reflex_is_a_fault_until_a_person_clears_it(cell: FrankaCell):
    probe = cell.probe()
    probe.ramp(probe.away)
    cell.arm.type("reflex")
    for _ in range(4):
        probe.send(probe.target(probe.away))
    assert "eflex" in wait_for_fault(probe, True)
    probe.watch(0.5)  # the arm's own controller takes over
    probe.stays([probe.target(probe.home) for _ in range(8)], "a fault")
    assert probe.newest.fault
    cell.driver.type("recover")
    wait_for_fault(probe, False)
    stands_until_reset_and_then_goes(probe, 6)
    probe.close()


def test_an_arm_that_is_gone_is_a_fault_and_can_be_connected_anew(cell: FrankaCell):
    probe = cell.probe()
    probe.ramp(probe.away)
    cell.arm.kill()
    assert "the arm" in wait_for_fault(probe, True)
    boot = probe.newest.boot
    cell.start_arm()
    cell.driver.type("recover")
    wait_for_fault(probe, False)
    assert probe.newest.boot == boot
    stands_until_reset_and_then_goes(probe, 6)
    probe.close()


def test_a_driver_that_is_started_anew_is_another_and_does_not_move_by_old_targets(cell: FrankaCell):
    probe = cell.probe()
    probe.ramp(probe.away)
    old = probe.target(probe.home)
    boot = probe.newest.boot
    cell.driver.kill()
    time.sleep(0.5)
    cell.start_driver()
    probe.watch(2.0)
    assert probe.newest.boot != boot
    probe.stays([old] * 4, "a target of before the restart")
    probe.close()


def test_the_hand_opens_and_closes(cell: FrankaCell):
    probe = cell.probe()
    for opening in (0.035, 0.0, 0.03):
        probe.openings = np.array([opening])
        ends = time.monotonic() + 10
        while abs(probe.newest.fingers[0] - opening) > 0.003:
            assert time.monotonic() < ends, f"fingers at {probe.newest.fingers}, not {opening}"
            probe.send(probe.target(probe.home))
    assert probe.distance(probe.home) < 0.01
    probe.close()


def test_a_dry_run_prints_targets_and_does_not_move_the_arm(cell: FrankaCell):
    cell.driver.kill()
    time.sleep(0.5)
    driver = cell.start_driver("--dry-run")
    probe = cell.probe()
    probe.stays([probe.target(probe.away) for _ in range(8)], "a dry run")
    driver.out.wait_for(r"^\d+ \[.*fingers")
    probe.close()
