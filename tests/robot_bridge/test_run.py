"""The control loop's command with a robot and a server in other processes: what a person at the keyboard meets."""

import os
import pty
import select
import signal
import subprocess
import time

import pytest

pytest.importorskip("mink")
pytest.importorskip("robosuite")

from tests.robot_bridge.policies import serving, until
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


def test_it_waits_for_a_server_that_is_not_there_yet(tmp_path):
    bench = Bench(tmp_path)
    try:
        bench.twin()
        loop = bench.loop("--wait", "60")
        loop.out.wait_for("waiting for the policy server at ipc", 60)
        with serving(MovingPolicy(sideways), bench.policy):
            loop.err.wait_for("running: ", 60)
            loop.type("q")
            assert loop.wait() == 0
    finally:
        bench.close()


def test_a_server_that_never_comes_is_named(tmp_path):
    bench = Bench(tmp_path)
    loop = bench.loop("--wait", "0")
    assert loop.wait(60) == 2
    assert f"error: no answer from {bench.policy} within 0 s; is the policy server running?" in loop.err.text()


def test_on_a_terminal_it_says_what_it_is_connected_to_which_key_stops_and_how_it_goes(bench):
    bench.twin()
    ours, theirs = pty.openpty()
    loop = bench.loop("--task", "wave", stdin=theirs, stdout=theirs)
    os.close(theirs)
    shown = ""

    def shows(*words: str) -> bool:
        nonlocal shown
        if select.select([ours], [], [], 0.1)[0]:
            shown += os.read(ours, 4096).decode()
        return all(word in shown for word in words)

    until(lambda: shows("policy  constant", "round trip", "robot   twin", "7 joints", "task    'wave'"), 60)
    until(lambda: shows("Enter stops, r resets, q quits"))
    until(lambda: shows(" Hz  running  action ", " ms old  interventions: "), 30)
    os.write(ours, b"\n")
    until(lambda: shows("Hz  stopped: the operator's key"), 30)
    os.write(ours, b"q\n")
    until(lambda: shows('"age_ms_p50": '), 30)
    assert loop.wait() == 0
    os.close(ours)


def test_without_a_stop_key_it_does_not_run_unless_it_is_told_to(bench):
    bench.twin()
    refused = bench.loop(stdin=subprocess.DEVNULL)
    assert refused.wait(60) == 2
    assert "nobody could stop the arm with a key: standard input is a file or /dev/null" in refused.err.text()
    assert "--no-stop-key" in refused.err.text()
    told = bench.loop("--no-stop-key", stdin=subprocess.DEVNULL)
    told.err.wait_for("running: ", 60)
    time.sleep(0.5)
    told.kill(signal.SIGTERM)
    assert told.popen.returncode == 0
    assert told.report()["ticks"] > 5


def test_a_stop_key_that_is_lost_ends_the_run(bench):
    bench.twin()
    loop = bench.loop()
    loop.err.wait_for("running: ", 60)
    loop.popen.stdin.close()
    loop.err.wait_for("stopped: standard input has ended")
    assert loop.wait() == 0


def test_a_terminal_that_goes_away_ends_the_run_and_leaves_the_recording(bench):
    bench.twin()
    ours, theirs = pty.openpty()
    loop = bench.loop("--record", str(bench.folder / "record"), stdin=theirs, stdout=theirs)
    os.close(theirs)
    loop.err.wait_for("running: ", 60)
    time.sleep(0.5)
    os.close(ours)
    loop.err.wait_for("stopped: standard input has ended")
    loop.wait()
    left = sorted(path.name for path in (bench.folder / "record").iterdir())
    assert left == ["pick_up_the_can_demo.hdf5", "pick_up_the_can_demo.videos"]


def test_what_the_robot_has_to_say_is_shown(bench):
    scene = bench.folder / "scene.xml"
    text = "<custom><text name='notice' data='the scene is made of cardboard'/></custom>"
    camera = "<camera name='agentview' pos='1.3 0 0.7' xyaxes='0 1 0 -1 0 2'/>"
    scene.write_text(f"<mujoco>{text}<worldbody><body name='robot_base'/>{camera}</worldbody></mujoco>")
    twin = bench.twin("--scene", str(scene))
    assert "warning: the scene is made of cardboard" in twin.err.text()
    bench.loop().out.wait_for("warning: the robot says: the scene is made of cardboard", 60)
