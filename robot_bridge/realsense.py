"""The colour of RealSense cameras, by pyrealsense2: realsense://SERIAL, or a recording of theirs, realsense://FILE."""

import contextlib
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

from common.errors import UserError
from robot_bridge.camera_sources import CameraGone, Frames, exposed

SCHEME = "realsense://"
SILENCE = 1000
"""Milliseconds without an image after which a camera counts as gone."""


def librealsense() -> Any:
    """The vendor's module.

    Raises:
        UserError: it is missing, or cannot be loaded.
    """
    try:
        import pyrealsense2
    except ImportError as error:
        raise UserError(
            f"{SCHEME} needs pyrealsense2: pip install 'amplify-deploy[realsense]', and the system's libusb ({error})"
        ) from None
    return pyrealsense2


def realsense_frames(source: str, rate: float, ends: threading.Event) -> Frames:
    """Of the camera with the serial number in ``source``, asked for ``rate`` (Hz), or of a file, again and again.

    Raises:
        CameraGone: there is no such camera, it does not have that rate, or it gives nothing any more.
    """
    library = librealsense()
    name = source.removeprefix(SCHEME)
    config, recorded = library.config(), Path(name).is_file()
    pipeline = library.pipeline()
    try:
        if recorded:
            config.enable_device_from_file(name)
        else:
            _look_for(library, name)
            config.enable_device(name)
        config.enable_stream(library.stream.color, library.format.rgb8, 0 if recorded else round(rate))
        pipeline.start(config)
    except RuntimeError as error:
        raise CameraGone(f"cannot be opened: {error}; is {rate:g} Hz one of its rates (--rate), is it free?") from None
    try:
        while not ends.is_set():
            try:
                frame = pipeline.wait_for_frames(SILENCE).get_color_frame()
            except RuntimeError as error:
                raise CameraGone(f"gives no images any more: {error}") from None
            arrived = time.monotonic()
            at = arrived if recorded else exposed(_steady(library, frame, arrived), arrived)
            yield np.array(frame.get_data()), at  # a copy, since the library takes back what it lends
    finally:
        with contextlib.suppress(RuntimeError):  # it was pulled out
            pipeline.stop()


def _look_for(library: Any, serial: str) -> None:
    info = library.camera_info
    there = {
        device.get_info(info.serial_number): device.get_info(info.name) for device in library.context().query_devices()
    }
    if serial not in there:
        known = ", ".join(f"{number} ({name})" for number, name in there.items())
        raise CameraGone(f"is not plugged in; there {f'are: {known}' if known else 'is no RealSense'}")


def _steady(library: Any, frame: Any, now: float) -> float:
    """When the middle of the exposure was, by the steady clock (s), which says ``now``.

    The library's global time is the camera's clock put in terms of the time of day, which its system time is as well.
    Its stamps are those of the readout; how much earlier the exposure was the camera says in microseconds, if it does.
    """
    if frame.get_frame_timestamp_domain() == library.timestamp_domain.hardware_clock:
        return now  # of no clock that is known here
    readout, exposure = library.frame_metadata_value.frame_timestamp, library.frame_metadata_value.sensor_timestamp
    earlier = 0.0
    if frame.supports_frame_metadata(readout) and frame.supports_frame_metadata(exposure):
        earlier = (frame.get_frame_metadata(readout) - frame.get_frame_metadata(exposure)) / 1e6
    return now - (time.time() - frame.get_timestamp() / 1e3) - earlier
