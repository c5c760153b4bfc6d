"""Cameras for the control loop, in a process of their own: V4L devices, RealSense, and video files in their place.

On the robot's PC: python -m robot_bridge.camera front=/dev/video0 wrist=/dev/video2 --size 256
and in robot.yaml: camera_address: tcp://127.0.0.1:5603, cameras: {agentview: front, eye_in_hand: wrist}

Of RealSense cameras the colour, by serial number: python -m robot_bridge.camera front=realsense://819612070593
Without a camera: python -m robot_bridge.camera front=some_video.mp4
"""

import contextlib
import signal
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import zmq

from common.cli import CommandParser, run
from common.errors import UserError
from robot_bridge.camera_sources import CameraGone, opencv_frames
from robot_bridge.drivers.protocol import CameraImage, pack_image
from robot_bridge.realsense import SCHEME, librealsense, realsense_frames
from robot_bridge.resize import resize

RETRY = 1.0
"""Seconds between two attempts to open a camera that is gone."""


@dataclass(frozen=True)
class Exposure:
    """An upright RGB image (h, w, 3) uint8, and the monotonic time (s) at which it was exposed, so far as known."""

    pixels: np.ndarray
    at: float
    sequence: int


class Camera:
    """Reads ``source`` in a thread of its own, from construction to ``close``; keeps the newest image alone.

    ``source`` is a V4L device (/dev/video0), a RealSense (realsense://SERIAL), or a video file or a recording of a
    RealSense (realsense://FILE), which is played at its own rate again and again. ``size`` (h, w): the middle of the
    picture in that shape, averaged down; None leaves it. ``rate`` is asked of a device. A camera that is gone, or not
    there yet, is opened as soon as it is there; ``trouble`` says what is wrong meanwhile.
    """

    def __init__(self, name: str, source: str, size: tuple[int, int] | None, rate: float, news: threading.Event):
        self.name, self.source = name, source
        self.trouble = "not opened yet"
        self._size, self._rate, self._news = size, rate, news
        self._lock = threading.Lock()
        self._newest: Exposure | None = None
        self._sequence = 0
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._work, name=f"camera-{name}", daemon=True)
        self._thread.start()

    def take(self) -> Exposure | None:
        """The newest image, once; older ones that nobody took are gone."""
        with self._lock:
            newest, self._newest = self._newest, None
        return newest

    def close(self) -> None:
        """Ends the thread, which lets go of the device."""
        self._ends.set()
        self._thread.join(2)

    def _work(self) -> None:
        frames = realsense_frames if self.source.startswith(SCHEME) else opencv_frames
        while not self._ends.is_set():
            try:
                with contextlib.closing(frames(self.source, self._rate, self._ends)) as opened:
                    for pixels, at in opened:
                        self._keep(pixels, at)
            except CameraGone as trouble:
                self._complain(str(trouble))
                self._ends.wait(RETRY)

    def _keep(self, pixels: np.ndarray, at: float) -> None:
        pixels = np.ascontiguousarray(pixels if self._size is None else resize(pixels, self._size))
        self._sequence += 1
        with self._lock:
            self._newest = Exposure(pixels, at, self._sequence)
        self.trouble = ""
        self._news.set()

    def _complain(self, trouble: str) -> None:
        if trouble != self.trouble:
            print(f"camera {self.name}: {self.source} {trouble}", file=sys.stderr, flush=True)
        self.trouble = trouble


class Source(Protocol):
    """Where images come from."""

    name: str

    def take(self) -> Exposure | None:
        """The newest image, once."""
        ...


def send(camera: Source, socket: zmq.Socket) -> None:
    """Sends the newest image, if there is one that was not sent yet, by the robot protocol."""
    if (image := camera.take()) is not None:
        age = max(0.0, time.monotonic() - image.at)
        frames = pack_image(CameraImage(camera.name, image.sequence, image.pixels, age))
        with contextlib.suppress(zmq.Again):
            socket.send_multipart(frames, zmq.NOBLOCK)


def open_socket(address: str) -> zmq.Socket:
    """For ``send``.

    Raises:
        UserError: the address cannot be had.
    """
    socket: zmq.Socket = zmq.Context.instance().socket(zmq.PUB)
    socket.setsockopt(zmq.SNDHWM, 4)  # images; a loop that is slow loses some rather than sees old ones
    socket.setsockopt(zmq.LINGER, 0)
    try:
        socket.bind(address)
    except zmq.ZMQError as error:
        socket.close()
        raise UserError(f"cannot publish images at {address}: {error}; choose another address") from None
    return socket


def publish(cameras: Sequence[Source], address: str, news: threading.Event, ends: threading.Event) -> None:
    """Sends every image as soon as it is there, until ``ends`` is set.

    Raises:
        UserError: the address cannot be had.
    """
    socket = open_socket(address)
    print(f"cameras: {', '.join(camera.name for camera in cameras)} at {address}", flush=True)
    while not ends.is_set():
        news.wait(0.2)
        news.clear()
        for camera in cameras:
            send(camera, socket)
    socket.close()


def read_sources(texts: list[str]) -> dict[str, str]:
    """``NAME=SOURCE`` texts; ``UserError`` for what is none, and for a file that is not there."""
    sources: dict[str, str] = {}
    for text in texts:
        name, _, source = text.partition("=")
        if not name or not source or name in sources:
            raise UserError(f"{text!r}: write NAME=/dev/videoN, NAME=realsense://SERIAL or NAME=FILE, every name once")
        if not source.startswith(("/dev/", SCHEME)) and not Path(source).is_file():
            raise UserError(f"there is no video file {source}; a device is written /dev/video0 or realsense://SERIAL")
        sources[name] = source
    return sources


def main(argv: list[str]) -> None:
    """The command."""
    parser = CommandParser("robot_bridge.camera", __doc__)
    parser.add_argument(
        "cameras", nargs="+", metavar="NAME=SOURCE", help="/dev/video0, realsense://SERIAL, or a video file to play"
    )
    parser.add_argument("--address", default="tcp://127.0.0.1:5603", help="where images are published")
    parser.add_argument("--size", type=int, metavar="SIDE", help="send squares of this side instead of whole pictures")
    parser.add_argument("--rate", type=float, default=30.0, help="images a second to ask a device for (default 30)")
    arguments = parser.parse_args(argv)
    if arguments.size is not None and not 8 <= arguments.size <= 4096:
        raise UserError("--size must be 8 to 4096 pixels")
    if not 1 <= arguments.rate <= 1000:
        raise UserError("--rate must be 1 to 1000 Hz")
    sources = read_sources(arguments.cameras)
    if any(source.startswith(SCHEME) for source in sources.values()):
        librealsense()
    if not all(source.startswith(SCHEME) for source in sources.values()):
        try:
            import cv2  # noqa: F401
        except ImportError:
            raise UserError("cameras need OpenCV: pip install 'amplify-deploy[cameras]'") from None
    news, ends = threading.Event(), threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ends.set())
    size = None if arguments.size is None else (arguments.size, arguments.size)
    cameras = [Camera(name, source, size, arguments.rate, news) for name, source in sources.items()]
    try:
        publish(cameras, arguments.address, news, ends)
    finally:
        for camera in cameras:
            camera.close()


if __name__ == "__main__":
    run(main)
