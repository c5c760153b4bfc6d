"""The control loop with a robot on real sockets: what reaches the robot when all is well, and when it is not."""

import itertools
import threading
import time

import h5py
import numpy as np
import pytest

from common.errors import UserError
from common.joint_map import JointMap
from demos.hdf5 import DemoReader
from policy.chunks import JOINERS
from policy.interface import batched_plan
from policy.remote import PolicyClient
from robot_bridge.asker import Ask, Asker, Observation
from robot_bridge.config import Latency
from robot_bridge.drivers.link import RobotLink
from robot_bridge.loop import ControlLoop, RobotOccupied, resize
from robot_bridge.recorder import SessionRecorder
from robot_bridge.run import PolicyQuestion, check_replan
from robot_bridge.safety import Limb, Mode
from tests.robot_bridge.arms import DOF, LinearArm, LinearReference, joint_map, robot_config, safety_config
from tests.robot_bridge.policies import ConstantPolicy, ContinuingPolicy, serving, until
from tests.robot_bridge.robots import IdealRobot

VIEWS = ("agentview", "eye_in_hand")


class Rig:
    """Robot, link and loop; the loop runs in a thread between ``start`` and ``close``."""

    def __init__(self, folder, ask: Ask | Asker, recorder=None, send=True, arm=None, join="blend", **changes):
        self.robot = IdealRobot(folder)
        changes.setdefault("safety", safety_config(hold_after=0.4, stop_after=1.0, state_timeout=0.4))
        self.config = robot_config(self.robot.state_address, self.robot.target_address, **changes)
        self.link = RobotLink(self.robot.state_address, self.robot.target_address, DOF)
        self.link.wait(VIEWS, 10)
        self.asker = ask if isinstance(ask, Asker) else Asker(ask)
        self.loop = ControlLoop(
            self.config,
            self.link,
            [Limb(arm or LinearArm())],
            self.asker,
            JOINERS[join](),
            views=VIEWS,
            image_size=(32, 32),
            rate=50,
            references=[LinearReference()] if self.config.mode == "osc_delta" else [],
            send=send,
            recorder=recorder,
        )
        self._thread = threading.Thread(target=self.loop.run, daemon=True)

    @property
    def mode(self) -> Mode:
        return self.loop.safety.watchdog.mode

    @property
    def reason(self) -> str:
        return self.loop.safety.watchdog.reason

    def start(self) -> "Rig":
        self._thread.start()
        return self

    def close(self) -> None:
        self.loop.quit()
        if self._thread.ident is not None:
            self._thread.join(10)
        self.asker.close()
        self.link.close()
        self.robot.close()

    def commanded(self) -> np.ndarray:
        """Everything the robot was told, simulator order."""
        targets = np.array([target.q for target in self.robot.targets]).reshape(-1, DOF)
        return joint_map().to_sim(targets, np.zeros(DOF))


@pytest.fixture
def rig(tmp_path):
    """Makes rigs and takes them down."""
    rigs: list[Rig] = []

    def make(ask: Ask, **options) -> Rig:
        rigs.append(Rig(tmp_path, ask, **options))
        return rigs[-1]

    yield make
    for made in rigs:
        made.close()


def forward(observation: Observation) -> np.ndarray:
    """Along x, gripper closed."""
    return np.tile([0.5, 0, 0, 0, 0, 0, 1.0], (16, 1))


def test_the_robot_follows_the_policy_through_the_whole_chain(rig):
    made = rig(forward).start()
    until(lambda: len(made.robot.targets) and made.commanded()[-1, 0] > 0.1, 15)
    path = made.commanded()
    assert np.abs(path[:, 1:]).max() < 1e-9
    assert (np.diff(path[:, 0]) >= -1e-9).all()
    assert made.robot.targets[-1].openings == [0.0]
    assert made.mode is Mode.RUNNING


def test_joint_targets_are_followed_too(rig):
    goal = np.linspace(-0.3, 0.3, DOF)
    made = rig(lambda _: np.tile(np.append(goal, -1.0), (16, 1)), mode="joint_target").start()
    until(lambda: len(made.robot.targets) and np.allclose(made.commanded()[-1], goal, atol=1e-4), 15)
    assert made.robot.targets[-1].openings == [made.config.grippers[0].open]


def test_real_time_chunking_tells_the_policy_what_the_arm_will_have_done_by_then_and_joins_softly(rig):
    policy, turns = ContinuingPolicy(), itertools.count()

    def ask(observation: Observation) -> np.ndarray:
        time.sleep(0.06)  # 3 ticks
        plan = batched_plan([observation.plan], 16)
        images, aim = np.zeros((1, 2, 32, 32, 3)), np.full((1, 9), 0.5 * (-1) ** next(turns))
        return policy.act(images, aim, ["to and fro"], plan)[0]

    made = rig(ask, join="realtime").start()

    def joined() -> bool:
        if made.mode is Mode.STOPPED:  # this machine was too busy
            made.loop.reset()
        return len(made.loop.report.jumps) > 2

    until(joined, 30)
    weights = [plan.weights[0] for plan in policy.plans if plan is not None]
    told = [row for row in weights if row[0] == 1]  # not where a busy machine left a gap
    assert np.median([(row == 1).sum() for row in told]) >= 2
    assert all((np.diff(row) <= 0).all() for row in told)
    at_once = np.rad2deg(0.25 * 0.05 * 1.0)
    assert max(made.loop.report.jumps) < at_once
    assert made.loop.report.summary()["joins"] == len(made.loop.report.jumps)


def test_the_loop_beats_on_while_the_policy_thinks(rig):
    gate = threading.Event()
    made = rig(lambda observation: forward(observation) if gate.wait(10) else None).start()
    until(lambda: len(made.loop.report.late) > 20)
    assert made.mode is Mode.HOLDING
    path = made.commanded()
    np.testing.assert_array_equal(path, np.zeros_like(path))
    gate.set()
    # That answer is too old by now; the next one is not.
    until(lambda: made.mode is Mode.RUNNING, 15)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_one_bad_number_stops_the_arm_for_good_until_a_person_resets(rig, bad: float):
    poison = threading.Event()

    def ask(observation: Observation) -> np.ndarray:
        chunk = forward(observation)
        if poison.is_set():
            chunk[9, 3] = bad
        return chunk

    made = rig(ask).start()
    until(lambda: made.mode is Mode.RUNNING)
    poison.set()
    until(lambda: made.mode is Mode.STOPPED)
    assert "not finite" in made.reason
    poison.clear()
    until(lambda: made.robot.targets[-1].stop)
    held = len(made.robot.targets)
    until(lambda: len(made.robot.targets) > held + 60, 15)
    path = made.commanded()[held + 50 :]
    assert np.ptp(path, axis=0).max() == 0  # at rest, and chunks that are good again change nothing
    made.loop.reset()
    until(lambda: made.mode is Mode.RUNNING)


def test_a_silent_policy_holds_then_stops(rig):
    silent = threading.Event()

    def ask(observation: Observation) -> np.ndarray:
        if silent.is_set():
            raise TimeoutError("no answer")
        return forward(observation)

    made = rig(ask).start()
    until(lambda: made.mode is Mode.RUNNING)
    silent.set()
    until(lambda: made.mode is Mode.STOPPED)
    assert "no fresh action for 1 s" in made.reason
    modes = [kind for _, kind, _ in made.loop.report.events if kind != "request_failed"]
    assert modes[-2:] == ["holding", "stopped"]


def test_a_robot_that_falls_silent_or_reports_a_fault_stops(rig):
    made = rig(forward).start()
    until(lambda: made.mode is Mode.RUNNING)
    made.robot.silent = True
    until(lambda: made.mode is Mode.STOPPED)
    assert "no state from the robot" in made.reason
    made.robot.silent, made.robot.fault = False, "motor hot"
    time.sleep(0.05)
    made.loop.reset()
    until(lambda: "motor hot" in made.reason)
    assert made.mode is Mode.STOPPED


def test_states_that_come_later_and_later_stop_the_arm_though_they_keep_coming(rig):
    made = rig(forward).start()
    until(lambda: made.mode is Mode.RUNNING)
    made.robot.lag = 0.6
    until(lambda: made.mode is Mode.STOPPED)
    assert "the robot's states come 0.6" in made.reason
    made.robot.lag = 0.0
    time.sleep(0.1)
    made.loop.reset()
    until(lambda: made.mode is Mode.RUNNING)


def test_a_robot_that_takes_no_targets_stops_the_arm(rig):
    made = rig(forward).start()
    until(lambda: len(made.robot.targets) > 20)
    made.robot.deaf = True
    until(lambda: made.mode is Mode.STOPPED)
    assert "has not taken a target for 0." in made.reason


def test_a_robot_that_is_driven_by_another_loop_ends_this_one(rig):
    made = rig(forward)
    made.robot.session = 77
    with pytest.raises(RobotOccupied, match="session 77"):
        made.loop.run(5)
    assert made.loop.report.summary()["ticks"] < 50


def test_joints_that_the_map_does_not_name_are_told_to_stay_where_they_are(rig):
    robot_has_two_more = JointMap.from_config(
        {"apply_sim_to_real_map": True, "real_dof": DOF, "sim_to_real_idx": [4, 2, 0, -1, 6, -1, 3]}, DOF
    )
    made = rig(forward, joint_map=robot_has_two_more)
    start = made.robot.q.copy()
    made.start()
    until(lambda: len(made.robot.targets) > 10 and made.robot.targets[-1].q[4] > start[4] + 0.05, 15)
    told = np.array([target.q for target in made.robot.targets])
    np.testing.assert_array_equal(told[:, [1, 5]], np.broadcast_to(start[[1, 5]], (len(told), 2)))


def test_a_blind_robot_is_not_driven_by_old_pictures(rig):
    made = rig(forward).start()
    until(lambda: made.mode is Mode.RUNNING)
    made.robot.blind = True
    until(lambda: made.mode is Mode.STOPPED)
    assert "no fresh action" in made.reason


def test_a_stopped_arm_does_not_ask_the_policy_and_follows_no_answer_from_before_its_reset(rig):
    asked: list[Observation] = []
    slow = threading.Event()

    def ask(observation: Observation) -> np.ndarray:
        asked.append(observation)
        if slow.is_set():
            time.sleep(0.6)
        return forward(observation)

    made = rig(ask).start()
    until(lambda: made.mode is Mode.RUNNING)
    slow.set()
    until(lambda: len(asked) > 3)
    made.loop.stop()
    until(lambda: made.mode is Mode.STOPPED)
    reset_at = time.monotonic()
    made.loop.reset()
    until(lambda: made.mode is Mode.HOLDING)
    slow.clear()
    until(lambda: made.mode is Mode.RUNNING)
    assert asked[-1].at > reset_at  # not the answer that was under way, whatever it said
    made.loop.stop()
    until(lambda: made.mode is Mode.STOPPED)
    time.sleep(0.2)
    count = len(asked)
    time.sleep(0.5)
    assert len(asked) == count


def test_the_operator_s_key_stops(rig):
    made = rig(forward).start()
    until(lambda: made.mode is Mode.RUNNING)
    made.loop.stop()
    until(lambda: made.mode is Mode.STOPPED)
    assert made.reason == "the operator's key"


def test_an_exception_in_the_loop_ends_it_with_the_arm_braked(rig):
    class Broken(LinearArm):
        def solve(
            self, position: np.ndarray, rotation: np.ndarray, q: np.ndarray, lower: np.ndarray, upper: np.ndarray
        ) -> np.ndarray:
            if q[0] > 0.05:
                raise ArithmeticError("singular")
            return super().solve(position, rotation, q, lower, upper)

    made = rig(forward, arm=Broken())
    with pytest.raises(ArithmeticError):
        made.loop.run(20)
    until(lambda: made.robot.targets[-1].stop and np.array_equal(*(target.q for target in made.robot.targets[-2:])))
    periods = np.diff([target.sequence for target in made.robot.targets])  # on a busy machine the robot misses some
    speeds = np.diff(made.commanded()[:, 0]) / periods
    assert speeds[-1] == 0
    most = made.config.safety.acceleration[0] * 0.02**2 * (periods[1:] + periods[:-1]) / 2
    assert (np.abs(np.diff(speeds)) < most + 1e-9).all()
    assert made.loop.report.summary()["ticks"] > 0


def test_a_dry_run_sends_nothing(rig):
    made = rig(forward, send=False).start()
    until(lambda: made.mode is Mode.RUNNING)
    assert made.robot.targets == []


def test_with_a_server_that_dies_and_comes_back(rig, tmp_path):
    address = f"ipc://{tmp_path}/policy"
    ask = PolicyQuestion(PolicyClient(address, timeout=0.3), VIEWS, "reach")
    made = rig(ask)
    with serving(ConstantPolicy(), address):
        made.start()
        until(lambda: made.mode is Mode.RUNNING, 15)
    until(lambda: made.mode is Mode.STOPPED, 15)
    with serving(ConstantPolicy(), address):
        made.loop.reset()
        until(lambda: made.mode is Mode.RUNNING, 15)


def test_a_session_is_recorded_as_a_demonstration(rig, tmp_path):
    recorder = SessionRecorder(tmp_path / "record", robot_config("", ""), "Reach, please!", VIEWS)
    made = rig(forward, recorder=recorder).start()
    until(lambda: len(made.loop.report.late) > 30)
    made.loop.stop()
    until(lambda: made.mode is Mode.STOPPED)
    made.close()
    path = recorder.save()
    assert path is not None
    assert path.name == "reach__please_demo.hdf5"
    with DemoReader(path) as reader:
        assert reader.language == "Reach, please!"
    with h5py.File(path) as file:
        demo = file["data/demo_0"]
        count = demo.attrs["num_samples"]
        log = demo["robot"]
        assert count > 30
        assert demo["obs/agentview_rgb"].shape == (count, 32, 32, 3)
        assert log["commanded_real"].shape == (count, DOF)
        assert (np.diff(log["time"][:]) > 0).all()
        assert len(log["requests/chunks"]) >= 1
        assert b"the operator's key" in log["events/text"][:]
        assert b"running" in log["mode"][:]
    assert SessionRecorder(tmp_path, robot_config("", ""), "x", VIEWS).save() is None


def test_a_replan_that_the_watchdog_would_bite_is_refused():
    config = robot_config("", "")
    check_replan(config, 4, 20, 16)
    with pytest.raises(UserError, match="hold_after"):
        check_replan(config, 12, 20, 16)
    with pytest.raises(UserError, match="--replan must be"):
        check_replan(config, 16, 20, 16)


def test_a_run_that_is_ended_before_its_first_tick_has_a_report(rig):
    made = rig(lambda _: np.zeros((16, 7)))
    made.loop.quit()
    assert made.loop.run().summary()["ticks"] == 0


def test_latencies_that_leave_nothing_of_a_chunk_are_refused():
    with pytest.raises(UserError, match=r"skip 13.*after 4"):
        check_replan(robot_config("", "", latency=Latency(camera=0.5, arm=0.11)), 4, 20, 16)


def test_actions_that_passed_while_the_image_travelled_and_the_arm_followed_are_skipped(rig):
    asked: list[Observation] = []
    made = rig(lambda seen: asked.append(seen) or np.zeros((16, 7)), latency=Latency(camera=0.1, arm=0.06))
    begun = time.monotonic()
    made.start()
    until(lambda: len(asked) >= 8)
    late = asked[-1]
    assert late.at < time.monotonic() - 0.1
    assert late.tick == pytest.approx((late.at - 0.06 - begun) * 50, abs=2)


def test_pictures_are_cut_square_and_shrunk():
    image = np.zeros((64, 96, 3), np.uint8)
    image[:, 16:80] = 100
    assert (resize(image, (32, 32)) == 100).all()
    assert resize(image, (32, 32)).shape == (32, 32, 3)
    assert (resize(image, (48, 48)) == 100).all()
    assert resize(image, (64, 96)) is image
