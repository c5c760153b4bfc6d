"""Processes in the environments of vendors' libraries, and what every arm's faults have in common."""

import os
import subprocess
import time
from pathlib import Path

import numpy as np

from robot_bridge.drivers.conformance import PERIOD, Probe
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
