"""The twin led by a person's hand, at its terminal."""

import numpy as np
import pytest

pytest.importorskip("mink")
pytest.importorskip("robosuite")

from robot_bridge.config import read_robot
from robot_bridge.drivers.listener import StateListener
from robot_bridge.kinematics import limbs_of
from robot_bridge.panda import HOME
from robot_bridge.twin_robot import WIRING
from tests.robot_bridge.policies import ConstantPolicy, serving, until
from tests.robot_bridge.processes import Bench


@pytest.fixture
def bench(tmp_path):
    bench = Bench(tmp_path)
    yield bench
    bench.close()


def test_it_goes_where_it_is_led_and_says_what_it_does_not_understand(bench):
    twin = bench.twin("--camera-rate", "0")
    listener = StateListener(bench.state)
    (limb,) = limbs_of(read_robot("twin"))
    where = lambda: WIRING.to_sim(listener.hear(0.1)[-1].q, np.zeros(7))  # noqa: E731
    twin.type("guide joint3 0.4")
    until(lambda: abs(where()[2] - 0.4) < 0.01, 10)
    twin.type("guide hand 0.5 0.2 0.3")
    until(lambda: np.abs(limb.body.pose(where())[0] - [0.5, 0.2, 0.3]).max() < 0.01, 10)
    twin.type("guide gripper 0.01")
    until(lambda: abs(listener.hear(0.1)[-1].fingers[0] - 0.01) < 0.003, 10)
    twin.type("guide home")
    until(lambda: np.abs(where() - HOME).max() < 0.01, 10)
    twin.type("guide hand 3 0 0")
    twin.err.wait_for("error: the hand cannot go to")
    twin.type("guide nowhere")
    twin.err.wait_for("error: 'nowhere' is no way to guide; there are: guide JOINT BY")
    listener.close()


@pytest.mark.slow
def test_nobody_leads_it_while_a_loop_drives_it(bench):
    twin = bench.twin()
    with serving(ConstantPolicy(), bench.policy):
        loop = bench.loop("--task", "stay", "--seconds", "20")
        loop.err.wait_for("running: ", 60)
        twin.type("guide joint1 0.4")
        twin.err.wait_for("error: a loop drives the twin; nobody can guide it")
        loop.type("q")
        assert loop.wait(60) == 0
