"""The twin keeps every rule of the robot protocol; drivers that do not are found out, by rule."""

import threading
import time

import numpy as np
import pytest
import zmq

from robot_bridge.drivers.conformance import CHECKS, Probe, check_driver
from robot_bridge.drivers.protocol import ProtocolError, RobotState, pack_state, unpack_target
from tests.robot_bridge.policies import with_patience
from tests.robot_bridge.processes import Bench

DOF = 2


class CarelessDriver(threading.Thread):
    """Goes at once to whatever target comes, from whomever, in whatever order; with ``stop`` it stays where it is."""

    def __init__(self, folder):
        super().__init__(daemon=True)
        self.state_address, self.target_address = f"ipc://{folder}/state", f"ipc://{folder}/target"
        context = zmq.Context.instance()
        self._out, self._in = context.socket(zmq.PUB), context.socket(zmq.SUB)
        self._out.linger = 0
        self._in.subscribe(b"")
        self._out.bind(self.state_address)
        self._in.bind(self.target_address)
        self._end = threading.Event()
        self.start()

    def run(self) -> None:
        q, number, began = np.zeros(DOF), 0, time.monotonic()
        while not self._end.wait(0.005):
            while self._in.poll(0):
                try:
                    target = unpack_target(self._in.recv(), DOF)
                except ProtocolError:
                    continue
                if not target.stop:
                    q = target.q
            number += 1
            state = RobotState(number, time.monotonic() - began, q, np.zeros(DOF), np.zeros(2))
            self._out.send_multipart(pack_state(state))
        self._out.close()
        self._in.close()

    def close(self) -> None:
        self._end.set()
        self.join(5)


def test_a_careless_driver_is_found_out(tmp_path):
    driver = CarelessDriver(tmp_path)
    probe = Probe(driver.state_address, driver.target_address, DOF, joint=1, reach=0.1, per_radian=1.0)
    try:
        findings = check_driver(probe)
    finally:
        probe.close()
        driver.close()
    broken = {finding.name: finding.trouble for finding in findings if finding.trouble}
    assert set(broken) >= {
        "drops_what_is_not_newer",
        "drops_what_is_too_old",
        "gives_receipts",
        "follows_one_loop_at_a_time",
        "follows_the_braking_ramp",
    }
    assert "beside the first" in broken["follows_one_loop_at_a_time"]
    kept = {finding.name for finding in findings} - set(broken)
    assert kept >= {"holds_before_the_first_target", "follows_targets"}


@pytest.mark.slow
def test_the_twin_keeps_every_rule(tmp_path):
    """By default ``test_check.py`` asks the same of it, and more."""
    pytest.importorskip("mink")
    pytest.importorskip("robosuite")
    bench = Bench(tmp_path)

    def attempt() -> None:
        check = bench.start("robot_bridge.drivers.conformance", "--robot", str(bench.robot))
        status = check.wait(90)
        print(check.out.text(), check.err.text())
        assert status == 0
        assert check.out.text().count("kept  ") == len(CHECKS)

    try:
        bench.twin()
        with_patience(attempt)
    finally:
        bench.close()
