"""Recording episodes with the twin: what a person types at a terminal, and what is on the disk afterwards."""

import signal
import time

import h5py
import imageio_ffmpeg
import numpy as np
import pytest

pytest.importorskip("mink")
pytest.importorskip("robosuite")

from demos.hdf5 import DemoReader
from robot_bridge.panda import HOME
from robot_bridge.session_videos import video_path
from tests.robot_bridge.policies import serving, until
from tests.robot_bridge.processes import Bench, MovingPolicy, Terminal, sideways


class Episodes(Terminal):
    """The command, with a folder for what it records."""

    def __init__(self, bench: Bench, *options: str):
        self.record = bench.folder / "record"
        command = ("robot_bridge.episodes", "--robot", str(bench.robot), "--record", str(self.record), "--task", "wave")
        super().__init__(bench, *command, "--count-down", "0", "--image-size", "32", *options)


@pytest.fixture
def bench(tmp_path):
    bench = Bench(tmp_path)
    yield bench
    bench.close()


def test_a_person_moves_the_arm_by_keys_and_the_episode_is_a_demonstration(bench):
    bench.twin()
    terminal = Episodes(bench, "--episodes", "1")
    terminal.wait_for("Enter: begin +q: leave")
    terminal.press(b"\n")
    terminal.process.err.wait_for("running: ", 60, since=terminal.wait_for("recording"))
    for _ in range(20):
        terminal.press(b"\x1b[A")
        time.sleep(0.1)
    terminal.press(b" ")
    time.sleep(0.5)
    terminal.press(b"\n")
    terminal.wait_for("s: success")
    terminal.press(b"sno cup\x7f\x7f\x7fcan\n")
    terminal.wait_for("success: .*wave_demo.hdf5")
    assert terminal.end() == 0
    path = terminal.record / "wave_demo.hdf5"
    with DemoReader(path) as reader:
        assert (len(reader), reader.language) == (1, "wave")
        episode, attributes = reader[0], reader.attributes_of(0)
    assert (bool(attributes["success"]), attributes["note"]) == (True, "no can")
    assert episode.rewards[-1] == 1
    np.testing.assert_allclose(episode.joint_states[0], HOME, atol=0.05)
    assert episode.actions[:, 0].max() == pytest.approx(0.4)
    assert episode.ee_pos[-1, 0] - episode.ee_pos[0, 0] > 0.01
    assert np.abs(episode.ee_pos[:, 1] - episode.ee_pos[0, 1]).max() < 0.02
    assert (episode.actions[0, -1], episode.actions[-1, -1]) == (-1, 1)
    assert episode.agentview_rgb.shape[1:] == (32, 32, 3)
    frames = imageio_ffmpeg.read_frames(str(video_path(path, 0, "agentview")))
    assert next(frames)["size"] == (32, 32)
    assert sum(1 for _ in frames) == len(episode)


def test_ctrl_c_in_an_episode_brakes_keeps_it_apart_and_leaves(bench):
    with serving(MovingPolicy(sideways), bench.policy):
        bench.twin()
        terminal = Episodes(bench, "--by", "policy", "--server", bench.policy)
        terminal.wait_for("Enter: begin +q: leave")
        terminal.press(b"\n")
        terminal.process.err.wait_for("running: ", 60, since=terminal.wait_for("recording"))
        time.sleep(1.0)
        terminal.process.popen.send_signal(signal.SIGINT)
        assert terminal.end() == 0
    assert terminal.process.report()["episodes"] == {"unlabelled": 1}
    assert not (terminal.record / "wave_demo.hdf5").exists()
    with h5py.File(terminal.record / "unlabelled" / "wave_demo.hdf5") as file:
        demo = file["data/demo_0"]
        commanded = np.asarray(demo["robot/commanded_sim"])
        assert "running" in demo["robot/mode"].asstr()[:]
    assert len(commanded) > 10


@pytest.mark.slow
def test_failures_and_discarded_episodes_stay_out_of_the_demonstrations(bench):
    bench.twin()
    terminal = Episodes(bench, "--seconds", "0.5", "--episodes", "2")
    since = 0.0
    for label in (b"d", b"f\n", b"s\n"):
        since = terminal.wait_for("Enter: begin +q: leave", since)
        terminal.press(b"\n")
        since = terminal.wait_for("s: success", since)
        terminal.press(label)
    assert terminal.end() == 0
    assert terminal.process.report()["episodes"] == {"discarded": 1, "failure": 1, "success": 1}
    for folder in (terminal.record, terminal.record / "failures"):
        with DemoReader(folder / "wave_demo.hdf5") as reader:
            assert len(reader) == 1
    assert not list(terminal.record.glob("*.session-*"))


@pytest.mark.slow
def test_an_arm_that_is_stopped_on_its_way_home_waits_for_a_word(bench):
    bench.robot.write_text(bench.robot.read_text().replace("home: [0.0,", "home: [0.8,"))
    bench.twin()
    terminal = Episodes(bench)
    terminal.wait_for("to the home pose")
    time.sleep(0.7)
    terminal.press(b"\n")
    since = terminal.wait_for("not home yet")
    terminal.press(b"h")
    terminal.wait_for("Enter: begin +q: leave", since)
    terminal.press(b"q")
    assert terminal.end() == 0
    assert terminal.process.report()["episodes"] == {}
    until(lambda: not list(terminal.record.glob("*")))
