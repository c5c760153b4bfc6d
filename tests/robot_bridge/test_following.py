"""An arm that does not go where it is told is held, then stopped; with the twin in a process of its own, too."""

import h5py
import numpy as np
import pytest

from robot_bridge.config import FollowingConfig, read_robot
from robot_bridge.following import FollowingMonitor
from robot_bridge.safety import Mode, Watchdog
from tests.robot_bridge.policies import serving
from tests.robot_bridge.processes import Bench, MovingPolicy, sideways

DT, LAG = 0.05, 0.15
NAMES = ("shoulder", "elbow")


class Arm:
    """Two joints that are told to move at 1 rad/s and do what ``follows`` says, and the monitor that watches."""

    def __init__(self, **thresholds):
        self.watchdog = Watchdog(0.5, 2.0, lambda kind, text: None)
        config = FollowingConfig(**{"hold": 0.1, "stop": 0.3, "patience": 0.4, **thresholds})
        self.monitor = FollowingMonitor(config, self.watchdog, NAMES, LAG, DT)
        self.monitor.restart(0.0, np.zeros(2))
        self.now = 0.0

    def tick(self, measured: list[float], commanded: list[float]) -> Mode:
        self.now += DT
        self.watchdog.fresh(self.now)
        self.monitor.check(np.array(measured), self.now)
        mode = self.watchdog.check(self.now)
        self.monitor.commanded(self.now, np.array(commanded))
        return mode


def test_an_arm_that_follows_late_but_follows_is_left_alone():
    arm = Arm()
    for tick in range(1, 100):
        late = max(0.0, tick * DT - LAG)
        assert arm.tick([np.sin(late), 0], [np.sin(tick * DT), 0]) is Mode.RUNNING
    assert arm.monitor.largest.max() < 1e-9


@pytest.mark.parametrize("wrong", [-0.04, 0.04])
def test_a_lag_that_is_wrong_by_less_than_a_period_is_not_held_against_the_arm(wrong: float):
    arm = Arm(hold=0.01)
    for tick in range(1, 100):
        late = max(0.0, tick * DT - LAG - wrong)
        assert arm.tick([late, 0], [tick * DT, 0]) is Mode.RUNNING


def test_a_stuck_joint_holds_and_then_stops_by_name():
    arm = Arm()
    modes = [arm.tick([tick * DT - LAG, 0], [tick * DT, min(tick * DT, 0.2)]) for tick in range(1, 30)]
    # The command of 0.1 rad is sent after 0.1 s, counts 0.15 s later, and 0.05 s more with the slack.
    assert modes[:6] == [Mode.RUNNING] * 6
    assert modes[6:8] == [Mode.HOLDING] * 2
    assert modes[-1] is Mode.STOPPED
    assert "elbow is 0.200 rad from where it should be, for 0.4 s" in arm.watchdog.reason


def test_a_joint_that_is_far_off_stops_at_once():
    arm = Arm()
    assert arm.tick([0, 0.31], [0, 0]) is Mode.STOPPED
    assert arm.watchdog.reason == "elbow is 0.310 rad from where it should be"


def test_a_hold_ends_when_the_joint_catches_up():
    arm = Arm()
    assert arm.tick([0.11, 0], [0, 0]) is Mode.HOLDING
    assert arm.tick([0.07, 0], [0, 0]) is Mode.HOLDING
    assert arm.tick([0.04, 0], [0, 0]) is Mode.RUNNING


def test_each_joint_has_its_own_threshold():
    arm = Arm(hold=np.array([0.1, 0.5]), stop=np.array([0.2, 0.6]))
    assert arm.tick([0.05, 0.4], [0, 0]) is Mode.RUNNING
    assert arm.tick([0.15, 0.4], [0, 0]) is Mode.HOLDING


def test_after_a_reset_only_what_was_sent_since_counts():
    arm = Arm()
    for tick in range(1, 20):
        arm.tick([0, 0], [tick * DT, 0])
    assert arm.watchdog.mode is Mode.STOPPED
    arm.watchdog.reset()
    arm.monitor.restart(arm.now, np.zeros(2))
    assert arm.tick([0, 0], [0, 0]) is Mode.RUNNING


def test_a_joint_of_the_twin_that_is_stuck_holds_within_a_fifth_of_a_second_and_stops(tmp_path):
    pytest.importorskip("mink")
    pytest.importorskip("robosuite")
    bench = Bench(tmp_path)
    try:
        with serving(MovingPolicy(sideways), bench.policy):
            twin = bench.twin()
            loop = bench.loop("--record", str(tmp_path / "record"))
            running = loop.err.wait_for("running: ", 60)
            loop.err.wait_for("running: ", since=running)
            twin.type("stuck 6")  # the motor of joint3, which does most of this
            loop.err.wait_for("stopped: joint3 is .* rad from where it should be")
            loop.type("q")
            assert loop.wait() == 0
    finally:
        bench.close()
    config = read_robot("twin")
    with h5py.File(next((tmp_path / "record").glob("*_demo.hdf5"))) as file:
        log, measured = file["data/demo_0/robot"], file["data/demo_0/obs/joint_states"][:, 2]
        time, commanded, modes = log["time"][:], log["commanded_sim"][:, 2], log["mode"].asstr()[:]
        reasons = log["events/text"].asstr()[:]
    should_be = np.interp(time - DT - config.latency.arm, time, commanded)
    passed = time[np.abs(measured - should_be) > np.broadcast_to(config.safety.following.hold, 7)[2]][0]
    held = time[(time >= passed - 2 * DT) & (modes != "running")][0]
    print(f"held {held - passed:.3f} s after passing the threshold")
    assert held - passed < 0.2
    assert modes[-1] == "stopped"
    assert any("joint3" in reason for reason in reasons)
