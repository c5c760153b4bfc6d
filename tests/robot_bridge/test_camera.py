"""The camera process with video files in the place of cameras, over its real socket."""

import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import zmq

pytest.importorskip("cv2")

import cv2

from common.errors import UserError
from robot_bridge.camera import Camera, main, read_sources
from robot_bridge.camera_sources import exposed
from robot_bridge.drivers.protocol import CAMERA_TOPIC, unpack_image
from tests.robot_bridge.policies import until
from tests.robot_bridge.processes import Process


def write_video(path: Path, frames: int = 20, rate: float = 50.0, size: tuple[int, int] = (48, 64)) -> Path:
    """Red all over, brighter from frame to frame."""
    height, width = size
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), rate, (width, height))
    for number in range(frames):
        writer.write(np.full((height, width, 3), (0, 0, 100 + 7 * number), np.uint8))
    writer.release()
    return path


def test_two_cameras_reach_the_loop_s_socket_in_rgb_at_the_size_asked_for_and_with_their_age(tmp_path):
    video = write_video(tmp_path / "video.avi")
    address = f"ipc://{tmp_path}/images"
    process = Process("robot_bridge.camera", f"front={video}", f"wrist={video}", "--size", "32", "--address", address)
    socket = zmq.Context.instance().socket(zmq.SUB)
    socket.subscribe(CAMERA_TOPIC)
    socket.connect(address)
    seen: dict[str, list] = {"front": [], "wrist": []}
    try:
        process.out.wait_for("^cameras: front, wrist at", 30)
        ends = time.monotonic() + 10
        while min(map(len, seen.values())) < 25 and time.monotonic() < ends:
            if socket.poll(100):
                image = unpack_image(socket.recv_multipart())
                seen[image.name].append(image)
        process.kill(signal.SIGTERM)
        assert process.popen.returncode == 0
    finally:
        socket.close(linger=0)
    for images in seen.values():
        assert len(images) >= 25  # longer than the file: it is played again
        assert images[0].pixels.shape == (32, 32, 3)
        assert all(image.pixels[..., 0].mean() > 90 > 30 > image.pixels[..., 2].mean() for image in images)
        assert (np.diff([image.sequence for image in images]) > 0).all()
        assert np.median([image.age for image in images]) < 0.1


def test_the_newest_image_alone_is_kept(tmp_path):
    video = write_video(tmp_path / "video.avi")
    news = threading.Event()
    camera = Camera("front", str(video), None, 30.0, news)
    try:
        assert news.wait(5)
        time.sleep(0.3)
        image = camera.take()
        assert image is not None
        assert image.sequence > 1
        assert image.pixels.shape == (48, 64, 3)
        assert time.monotonic() - image.at < 0.25
    finally:
        camera.close()
    camera.take()
    assert camera.take() is None


def test_a_camera_that_is_gone_is_told_and_comes_back(tmp_path, capsys):
    path = tmp_path / "video.avi"
    camera = Camera("front", str(path), None, 30.0, threading.Event())
    try:
        until(lambda: "cannot be opened" in camera.trouble)
        write_video(tmp_path / "whole.avi").rename(path)
        until(lambda: not camera.trouble and camera.take() is not None)
        path.unlink()
        until(lambda: "cannot be opened" in camera.trouble)
    finally:
        camera.close()
    assert capsys.readouterr().err.count("camera front:") == 2


def test_a_device_s_own_time_stamp_counts_where_it_is_of_the_steady_clock():
    assert exposed(99.97, 100.0) == 99.97
    assert exposed(0.0, 100.0) == 100.0  # none
    assert exposed(1.7e9, 100.0) == 100.0  # the time of day


@pytest.mark.parametrize("arguments", [["front"], ["=x"], ["front=nowhere.mp4"], ["a=/dev/video0", "a=/dev/video1"]])
def test_a_mistake_on_the_command_line_is_named(arguments: list[str]):
    with pytest.raises(UserError, match=r"/dev/video|no video file"):
        main(arguments)


def test_sources_are_read():
    assert read_sources(["front=/dev/video0", "wrist=/dev/video2"]) == {"front": "/dev/video0", "wrist": "/dev/video2"}
