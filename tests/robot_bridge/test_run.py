"""The control loop's command with a robot and a server in other processes: what a person at the keyboard meets."""

import pytest

pytest.importorskip("mink")
pytest.importorskip("robosuite")

from tests.robot_bridge.policies import serving
from tests.robot_bridge.processes import Bench, MovingPolicy, sideways


@pytest.fixture
def bench(tmp_path):
    """A workbench with a small policy behind a server."""
    bench = Bench(tmp_path)
    with serving(MovingPolicy(sideways), bench.policy):
        yield bench
        bench.close()


def test_a_driver_that_was_started_anew_is_picked_up_by_a_reset_and_not_before(bench):
    twin = bench.twin()
    loop = bench.loop()
    loop.err.wait_for("running: ", 60)
    twin.kill()
    loop.err.wait_for("stopped: no state from the robot")
    bench.twin()
    again = loop.err.wait_for("driver was started anew")
    with pytest.raises(AssertionError):
        loop.err.wait_for("running: ", 1.0, since=again)
    loop.err.wait_for("running: ", since=loop.type("r"))
    loop.type("q")
    assert loop.wait() == 0


def test_a_second_loop_on_a_robot_says_that_it_is_occupied_and_exits(bench):
    bench.twin()
    first = bench.loop()
    began = first.err.wait_for("running: ", 60)
    second = bench.loop()
    assert second.wait(60) == 2
    assert "error: another loop drives this robot" in second.err.text()
    with pytest.raises(AssertionError):
        first.err.wait_for("stopped: ", 0.5, since=began)
    first.type("q")
    assert first.wait() == 0
    bench.loop("--seconds", "1").err.wait_for("running: ", 60)  # as soon as the first has gone
