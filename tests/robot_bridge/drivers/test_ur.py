"""The Universal Robots driver by ur-rtde, with a controller's network protocols behind it.

ur-rtde wants an environment of its own; UR_PYTHON names its interpreter:
python -m venv ur && ur/bin/pip install ur-rtde==1.6.5 numpy pyzmq msgpack pyyaml
"""

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from robot_bridge.drivers.conformance import PERIOD, Probe
from tests.robot_bridge.drivers.programs import (
    Cell,
    Program,
    keeps_every_rule,
    stands_until_reset_and_then_goes,
    wait_for_fault,
)

PYTHON = os.environ.get("UR_PYTHON", "")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PYTHON, reason="UR_PYTHON names no Python with ur-rtde"),
]


class UrCell(Cell):
    """The controller and its driver."""

    def __init__(self, folder: Path):
        super().__init__(folder, "ur5e", "127.0.0.1")

    def start_arm(self) -> Program:
        self.arm = Program(sys.executable, "tests/robot_bridge/drivers/ur_simulator.py")
        self.arm.out.wait_for("ready", 60)
        self.arm.type("unlock_after 1")  # of a test's patience
        return self.arm

    def start_driver(self, *options: str) -> Program:
        self.driver = Program(PYTHON, "-m", "robot_bridge.drivers.ur", "127.0.0.1", *self.addresses, *options)
        self.driver.out.wait_for("^ur: state at", 60)
        return self.driver

    def probe(self) -> Probe:
        return Probe(self.state, self.target, 6, joint=5, reach=0.1, per_radian=1.0)


@pytest.fixture
def cell(tmp_path) -> Iterator[UrCell]:
    cell = UrCell(tmp_path)
    yield cell
    cell.close()


def test_it_keeps_every_rule_of_the_protocol(cell: UrCell):
    keeps_every_rule(cell, 120)


def test_a_protective_stop_is_a_fault_until_a_person_unlocks_it(cell: UrCell):
    probe = cell.probe()
    probe.ramp(probe.away)
    cell.arm.type("protective")
    for _ in range(4):
        probe.send(probe.target(probe.away))
    assert "protective stop" in wait_for_fault(probe, True)
    probe.stays([probe.target(probe.home) for _ in range(8)], "a fault")
    time.sleep(1.0)
    cell.driver.type("recover")
    wait_for_fault(probe, False)
    stands_until_reset_and_then_goes(probe, 5)
    probe.close()


def test_a_protective_stop_cannot_be_unlocked_at_once(cell: UrCell):
    cell.arm.type("unlock_after 60")
    probe = cell.probe()
    cell.arm.type("protective")
    wait_for_fault(probe, True)
    cell.driver.type("recover")
    probe.watch(1.5)
    assert "protective stop" in probe.newest.fault
    probe.close()


def test_an_emergency_stop_is_named(cell: UrCell):
    probe = cell.probe()
    cell.arm.type("emergency")
    assert "emergency stop" in wait_for_fault(probe, True)
    probe.close()


def test_a_controller_that_is_gone_is_a_fault_and_can_be_connected_anew(cell: UrCell):
    probe = cell.probe()
    probe.ramp(probe.away)
    cell.arm.kill()
    assert "the arm" in wait_for_fault(probe, True)
    boot = probe.newest.boot
    cell.start_arm()
    cell.driver.type("recover")
    wait_for_fault(probe, False)
    assert probe.newest.boot == boot
    stands_until_reset_and_then_goes(probe, 5)
    probe.close()


def test_a_driver_that_is_killed_leaves_an_arm_that_its_controller_stops(cell: UrCell):
    probe = cell.probe()
    probe.ramp(probe.away)
    cell.driver.kill()
    cell.arm.out.wait_for("program ended: watchdog", 10)
    cell.start_driver()
    probe.close()


def test_a_network_that_is_gone_for_two_seconds_is_a_fault(cell: UrCell):
    probe = cell.probe()
    cell.arm.type("drop")
    assert "the arm" in wait_for_fault(probe, True)
    time.sleep(2.5)
    cell.driver.type("recover")
    wait_for_fault(probe, False)
    probe.close()


def test_the_gripper_opens_and_closes(cell: UrCell):
    probe = cell.probe()
    for opening in (0.0, 0.04):
        probe.openings = np.array([opening])
        ends = time.monotonic() + 10
        while abs(probe.newest.fingers[0] - opening) > 0.003:
            assert time.monotonic() < ends, f"fingers at {probe.newest.fingers}, not {opening}"
            probe.send(probe.target(probe.home))
    probe.close()


def test_a_dry_run_prints_targets_and_does_not_start_a_program(cell: UrCell):
    cell.driver.kill()
    time.sleep(0.5)
    driver = cell.start_driver("--dry-run")
    probe = cell.probe()
    probe.stays([probe.target(probe.away) for _ in range(8)], "a dry run")
    driver.out.wait_for(r"^\d+ \[.*fingers", PERIOD * 200)
    assert len([line for _, line in cell.arm.out.lines if "program started" in line]) == 1
    probe.close()
