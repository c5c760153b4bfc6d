"""RealSense cameras in the camera process, by recordings that librealsense makes of its own software device.

pyrealsense2 wants the system's libusb 1.0.
"""

import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("pyrealsense2", exc_type=ImportError)

import pyrealsense2 as rs

from robot_bridge.camera import Camera
from robot_bridge.camera_sources import CameraGone
from robot_bridge.realsense import _look_for, _steady, realsense_frames
from tests.robot_bridge.policies import until

SERIAL = "819612070593"
HEIGHT, WIDTH = 48, 64


class SoftwareCamera:
    """A colour sensor of 30 Hz without hardware."""

    def __init__(self) -> None:
        self.device = rs.software_device()
        self.device.register_info(rs.camera_info.serial_number, SERIAL)
        self.device.register_info(rs.camera_info.name, "Software Camera")
        self._sensor = self.device.add_sensor("RGB Camera")
        stream = rs.video_stream()
        stream.type, stream.fmt, stream.fps, stream.bpp, stream.uid = rs.stream.color, rs.format.rgb8, 30, 3, 1
        stream.width, stream.height = WIDTH, HEIGHT
        stream.intrinsics = rs.intrinsics()
        self._profile = self._sensor.add_video_stream(stream)
        self._number = 0

    def show(self, level: int, domain=rs.timestamp_domain.global_time, stamp: float | None = None) -> None:
        """Red, as bright as ``level``; ``stamp`` is of the time of day, s."""
        self._number += 1
        frame = rs.software_video_frame()
        frame.pixels = np.full((HEIGHT, WIDTH, 3), (level, 0, 0), np.uint8)
        frame.stride, frame.bpp, frame.frame_number = WIDTH * 3, 3, self._number
        frame.timestamp = (time.time() if stamp is None else stamp) * 1e3
        frame.domain, frame.profile = domain, self._profile.as_video_stream_profile()
        self._sensor.on_video_frame(frame)

    def says(self, value, number: int) -> None:
        """Metadata of the frames that follow."""
        self._sensor.set_metadata(value, number)

    def frames(self):
        """A queue into which everything that is shown goes from now on."""
        queue = rs.frame_queue(8)
        self._sensor.open(self._profile)
        self._sensor.start(queue)
        return queue

    def record(self, path: Path) -> Path:
        recorder = rs.recorder(str(path), self.device)
        sensor, queue = recorder.query_sensors()[0], rs.frame_queue(8)
        sensor.open(sensor.get_stream_profiles()[0])
        sensor.start(queue)
        for number in range(6):
            self.show(100 + 20 * number)
            queue.wait_for_frame(1000)
            time.sleep(0.033)
        sensor.stop()
        sensor.close()
        return path


def test_a_recording_is_played_again_and_again_in_rgb_at_the_size_asked_for(tmp_path):
    path = SoftwareCamera().record(tmp_path / "colour.db3")
    camera, levels = Camera("front", f"realsense://{path}", (24, 24), 30.0, threading.Event()), []
    try:
        ends = time.monotonic() + 10
        while len(levels) < 14 and time.monotonic() < ends:
            if (image := camera.take()) is not None:
                assert image.pixels.shape == (24, 24, 3)
                assert image.pixels[..., 1:].max() == 0
                assert time.monotonic() - image.at < 0.2
                levels.append(int(image.pixels[0, 0, 0]))
            time.sleep(0.005)
    finally:
        camera.close()
    assert len(levels) >= 14  # longer than the file
    assert set(levels) <= {100, 120, 140, 160, 180, 200}
    assert len(set(levels)) > 3


def test_a_serial_number_that_is_not_there_is_told_with_those_that_are_and_looked_for_again(capsys):
    camera = Camera("front", "realsense://99", None, 30.0, threading.Event())
    try:
        until(lambda: "is not plugged in; there " in camera.trouble)
    finally:
        camera.close()
    assert "camera front: realsense://99 is not plugged in" in capsys.readouterr().err


def test_the_serial_numbers_that_are_there_are_listed():
    plugged = SimpleNamespace(query_devices=lambda: [SoftwareCamera().device])
    library = SimpleNamespace(camera_info=rs.camera_info, context=lambda: plugged)
    with pytest.raises(CameraGone, match=rf"not plugged in; there are: {SERIAL} \(Software Camera\)"):
        _look_for(library, "99")
    _look_for(library, SERIAL)


def test_a_file_that_is_no_recording_is_told(tmp_path):
    path = tmp_path / "colour.db3"
    path.write_text("nothing")
    with pytest.raises(CameraGone, match="cannot be opened"):
        next(realsense_frames(f"realsense://{path}", 30.0, threading.Event()))


@pytest.mark.parametrize(
    ("domain", "age"), [(rs.timestamp_domain.global_time, 0.25), (rs.timestamp_domain.hardware_clock, 0.0)]
)
def test_an_image_is_as_old_as_its_stamp_says_where_that_is_of_a_known_clock(domain, age):
    camera = SoftwareCamera()
    queue = camera.frames()
    camera.show(100, domain, time.time() - 0.25)
    frame, now = queue.wait_for_frame(1000), time.monotonic()
    assert now - _steady(rs, frame, now) == pytest.approx(age, abs=0.05)


def test_the_middle_of_the_exposure_counts_not_the_readout():
    camera = SoftwareCamera()
    queue = camera.frames()
    camera.says(rs.frame_metadata_value.frame_timestamp, 5_040_000)
    camera.says(rs.frame_metadata_value.sensor_timestamp, 5_000_000)
    camera.show(100)
    frame, now = queue.wait_for_frame(1000), time.monotonic()
    assert now - _steady(rs, frame, now) == pytest.approx(0.04, abs=0.02)
