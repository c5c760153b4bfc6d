"""Processes in the environments of vendors' libraries, and what every arm's faults have in common."""

import os
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from pathlib import Path

import numpy as np

from robot_bridge.config import CONFIGS
from robot_bridge.drivers.conformance import CHECKS, PERIOD, Probe
from tests.robot_bridge.processes import Said

ROOT = Path(__file__).parents[3]


class Program:
    """A process with its streams, in the environment of a vendor's library or in this one."""

    def __init__(self, python: str, *command: str):
        pipe = subprocess.PIPE
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        command = (python, *command)
        self.popen = subprocess.Popen(
            command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=environment, cwd=ROOT
        )
        self.out, self.err = Said(self.popen.stdout), Said(self.popen.stderr)

    def type(self, line: str) -> None:
        self.popen.stdin.write(f"{line}\n")
        self.popen.stdin.flush()

    def kill(self) -> None:
        self.popen.kill()
        self.popen.wait(30)


class Cell(ABC):
    """A vendor's arm, or what stands for it, and the driver in front of it.

    ``template`` names a robot.yaml of the package, whose addresses at ``host`` become sockets in ``folder``.
    """

    arm: Program
    driver: Program

    def __init__(self, folder: Path, template: str, host: str):
        self.state, self.target = f"ipc://{folder}/state", f"ipc://{folder}/target"
        self.robot = folder / "robot.yaml"
        text = (CONFIGS / f"{template}.yaml").read_text()
        text = text.replace(f"tcp://{host}:5601", self.state).replace(f"tcp://{host}:5602", self.target)
        self.robot.write_text(text)
        self.start_arm()
        self.start_driver()

    @abstractmethod
    def start_arm(self) -> Program:
        """Sets and returns ``arm``."""

    @abstractmethod
    def start_driver(self, *options: str) -> Program:
        """Sets and returns ``driver``."""

    @property
    def addresses(self) -> tuple[str, ...]:
        """As options of a driver."""
        return "--state-address", self.state, "--target-address", self.target

    def close(self) -> None:
        self.driver.kill()
        self.arm.kill()


def keeps_every_rule(cell: Cell, seconds: float) -> None:
    """The command for authors of drivers says so."""
    check = Program(sys.executable, "-m", "robot_bridge.drivers.conformance", "--robot", str(cell.robot))
    status = check.popen.wait(seconds)
    print(check.out.text(), check.err.text())
    assert status == 0
    assert check.out.text().count("kept  ") == len(CHECKS)


def wait_for_fault(probe: Probe, present: bool, seconds: float = 20.0) -> str:
    ends = time.monotonic() + seconds
    while bool(probe.newest.fault) is not present:
        assert time.monotonic() < ends, f"waited in vain, fault {probe.newest.fault!r}"
        probe.watch(PERIOD)
    return probe.newest.fault


def stands_until_reset_and_then_goes(probe: Probe, joint: int) -> None:
    """The loop's ramp does not move an arm that had a fault; targets without stop, which begin where it is, do."""
    probe.stays([probe.target(probe.away, stop=True) for _ in range(8)], "the ramp of before")
    probe.home = probe.newest.q
    probe.away = probe.home + np.eye(len(probe.home))[joint] * 0.1
    probe.ramp(probe.away)
    probe.reaches(probe.away, "after recovery and reset")
