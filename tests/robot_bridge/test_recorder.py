"""A recording is there after every end of a run: an exception, a full disk, a killed process."""

import resource
import signal
import time
from dataclasses import replace

import h5py
import imageio_ffmpeg
import msgpack
import numpy as np
import pytest
import zmq

from common.errors import UserError
from demos.hdf5 import DemoReader
from demos.motion_files import read_motions
from robot_bridge.asker import Answer, Observation
from robot_bridge.drivers.protocol import Target, pack_target
from robot_bridge.loop import Tick
from robot_bridge.recorder import Label, SessionRecorder, recover
from robot_bridge.safety import Command, Mode
from robot_bridge.session_videos import video_path
from tests.robot_bridge.arms import DOF, robot_config
from tests.robot_bridge.policies import serving, until
from tests.robot_bridge.processes import Bench, MovingPolicy, sideways

VIEWS = ("agentview", "eye_in_hand")


def recorder(folder, task: str = "reach", **options) -> SessionRecorder:
    return SessionRecorder(folder, robot_config("", ""), task, VIEWS, **options)


def tick(number: int) -> Tick:
    """One whose numbers say which it is."""
    images = np.stack([np.full((8, 8, 3), number, np.uint8), np.full((8, 8, 3), number + 1, np.uint8)])
    images[:, 0] = 99  # the uppermost row
    q = np.full(DOF, float(number))
    seen = Observation(number, float(number), images, q, np.array([0.04, -0.04]), np.zeros((1, 6)))
    action = None if number % 2 else np.full(7, 0.5)
    return Tick(float(number), 0.0, seen, action, Command(q, -q, Mode.RUNNING), np.array([0.04]), q)


def test_a_session_comes_back_as_it_was(tmp_path):
    recording = recorder(tmp_path)
    for number in range(5):
        recording.tick(tick(number))
    recording.answer(Answer(tick(3).observation, np.ones((16, 7), np.float32), 0.1))
    recording.answer(Answer(tick(4).observation, None, 1.0, "no answer"))
    recording.event(2.5, "holding", "no fresh action")
    path = recording.save()
    with DemoReader(path) as reader:
        episode = reader[0]
    np.testing.assert_array_equal(episode.joint_states[:, 0], np.arange(5))
    np.testing.assert_array_equal(episode.agentview_rgb[:, 1, 1, 0], np.arange(5))
    np.testing.assert_array_equal(episode.eye_in_hand_rgb[:, 0], 99)  # upright
    np.testing.assert_array_equal(episode.actions[:, 0], [0.5, 0, 0.5, 0, 0.5])
    with h5py.File(path) as file:
        log = file["data/demo_0/robot"]
        np.testing.assert_array_equal(log["commanded_real"][:, 0], -np.arange(5))
        assert log["requests/chunks/0"].dtype == np.float32
        assert log["requests/error"].asstr()[:].tolist() == ["", "no answer"]
        assert log["events/text"].asstr()[:].tolist() == ["no fresh action"]
    (motion,) = read_motions(path)
    np.testing.assert_array_equal(motion.openings, np.full((5, 1), np.float32(0.04)))
    assert list(tmp_path.iterdir()) == [path]


def test_what_the_cameras_sent_becomes_a_video_with_a_frame_for_each_row_at_its_own_size(tmp_path):
    recording = recorder(tmp_path)
    for number in range(30):
        large = np.full((48, 64, 3), 8 * number, np.uint8)
        recording.tick(replace(tick(number), pictures=(large, large[:24, :32])))
    path = recording.save()
    assert path is not None
    for view, size in (("agentview", (64, 48)), ("eye_in_hand", (32, 24))):
        frames = imageio_ffmpeg.read_frames(str(video_path(path, 0, view)))
        assert next(frames)["size"] == size
        brightness = [float(np.frombuffer(frame, np.uint8).mean()) for frame in frames]
        np.testing.assert_allclose(brightness, 8 * np.arange(30), atol=4)


@pytest.mark.parametrize(("success", "folder"), [(True, "."), (False, "failures")])
def test_an_episode_goes_where_its_label_says(tmp_path, success: bool, folder: str):
    recording = recorder(tmp_path, labelled=True)
    for number in range(3):
        recording.tick(tick(number))
    path = recording.save(Label(success, "the cup slipped"))
    assert path == tmp_path / folder / "reach_demo.hdf5"
    with DemoReader(path) as reader:
        np.testing.assert_array_equal(reader[0].rewards, [0, 0, success])
        assert reader.attributes_of(0)["success"] == success
        assert reader.attributes_of(0)["note"] == "the cup slipped"


def test_an_episode_that_nobody_has_judged_goes_to_no_others_and_a_discarded_one_nowhere(tmp_path):
    recording = recorder(tmp_path, labelled=True)
    recording.tick(tick(0))
    assert recording.save() == tmp_path / "unlabelled" / "reach_demo.hdf5"
    recording = recorder(tmp_path, labelled=True)
    recording.tick(tick(0))
    recording.discard()
    assert [path.name for path in tmp_path.iterdir()] == ["unlabelled"]


def test_sessions_of_a_task_are_episodes_of_one_file(tmp_path):
    for length in (2, 3):
        recording = recorder(tmp_path)
        for number in range(length):
            recording.tick(tick(number))
        path = recording.save()
    with DemoReader(path) as reader:
        assert [reader.steps(index) for index in range(len(reader))] == [2, 3]


def test_a_folder_that_cannot_be_written_is_found_at_the_start(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot record to .*choose another --record"):
        recorder(tmp_path / "file" / "record")


def test_another_task_of_the_same_name_is_found_at_the_start(tmp_path):
    recording = recorder(tmp_path, "reach!")
    recording.tick(tick(0))
    recording.save()
    with pytest.raises(UserError, match="holds demonstrations of 'reach!'"):
        recorder(tmp_path, "reach?")


def test_a_disk_that_fills_up_ends_the_recording_not_the_arm(tmp_path):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    recording = recorder(tmp_path)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, before[1]))
    try:
        for number in range(40):
            recording.tick(tick(number))
        until(lambda: recording.failure != "")
        for number in range(40):
            recording.tick(tick(number))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    with pytest.raises(UserError, match=r"ended early: .*large.*what came before is in"):
        recording.save()
    with DemoReader(tmp_path / "reach_demo.hdf5") as reader:
        assert 0 < reader.steps(0) < 40


def test_a_session_that_goes_on_is_not_recovered(tmp_path):
    recording = recorder(tmp_path)
    recording.tick(tick(0))
    assert recover(tmp_path) == []
    assert recording.save() is not None


@pytest.fixture
def bench(tmp_path):
    pytest.importorskip("mink")
    pytest.importorskip("robosuite")
    bench = Bench(tmp_path)
    with serving(MovingPolicy(sideways), bench.policy):
        bench.twin()
        yield bench
        bench.close()


def test_a_killed_process_leaves_all_but_the_last_second(bench):
    record = bench.folder / "record"
    loop = bench.loop("--record", str(record), "--task", "wave")
    began = loop.err.wait_for("running: ", 60)
    until(lambda: loop.popen.poll() is not None or time.monotonic() > began + 4)
    loop.kill(signal.SIGKILL)
    assert not list(record.glob("*.hdf5"))
    again = bench.start("robot_bridge.recorder", str(record))
    assert again.wait() == 0
    assert "recovered" in again.out.text()
    with h5py.File(record / "wave_demo.hdf5") as file:
        demo = file["data/demo_0"]
        assert demo.attrs["cut_off"]
        assert demo.attrs["num_samples"] > 0.7 * 3 * 20  # of 4 s all but one, less what a busy machine skipped
        assert "running" in demo["robot/mode"].asstr()[:]
        rows = demo.attrs["num_samples"]
        assert len(demo["robot/requests/chunks"]) > 3
    with DemoReader(record / "wave_demo.hdf5") as reader:
        assert reader.language == "wave"

    def frames() -> int:
        video = imageio_ffmpeg.read_frames(str(video_path(record / "wave_demo.hdf5", 0, "agentview")))
        next(video)
        return sum(1 for _ in video)

    until(lambda: frames() >= rows, 10)  # the encoder outlives the process, and ends what it was given


def test_an_exception_in_the_loop_leaves_a_recording(bench):
    record = bench.folder / "record"
    loop = bench.loop("--record", str(record), "--task", "wave")
    loop.err.wait_for("running: ", 60)
    # While the loop is frozen another one takes its robot over; when it goes on, that is an exception in it.
    states, targets = zmq.Context.instance().socket(zmq.SUB), zmq.Context.instance().socket(zmq.PUB)
    states.subscribe(b"state")
    states.connect(bench.state)
    targets.connect(bench.target)
    loop.popen.send_signal(signal.SIGSTOP)

    def taken_over() -> bool:
        state = msgpack.unpackb(states.recv_multipart()[1])
        target = Target(7, state["seq"], np.array(state["q"]), np.array([0.04]), False, state["boot"], state["t"])
        targets.send(pack_target(target))
        return state["session"] == 7

    until(taken_over)
    loop.popen.send_signal(signal.SIGCONT)
    until(lambda: taken_over() and loop.popen.poll() is not None)
    states.close(0)
    targets.close(0)
    assert loop.wait() == 2
    assert "error: another loop (session 7) drives the robot" in loop.err.text()
    with h5py.File(record / "wave_demo.hdf5") as file:
        assert "running" in file["data/demo_0/robot/mode"].asstr()[:]
