"""What images come from: each source yields upright RGB images with the times at which they were exposed."""

import threading
import time
from collections.abc import Generator

import numpy as np

PLAUSIBLE_AGE = 1.0
"""Seconds; a device's own time stamp that is older, or in the future, is none of this machine's steady clock."""

Frames = Generator[tuple[np.ndarray, float], None, None]
"""Upright RGB images (h, w, 3) uint8, each with the monotonic time (s) at which it was exposed, so far as known."""


class CameraGone(Exception):
    """A camera cannot be opened, or gives no images any more; the text goes on after its name."""


def exposed(stamp: float, arrived: float) -> float:
    """The device's own time stamp (s) where that is of the steady clock; else ``arrived``."""
    return stamp if 0 <= arrived - stamp < PLAUSIBLE_AGE else arrived


def opencv_frames(source: str, rate: float, ends: threading.Event) -> Frames:
    """Of a V4L device (/dev/video0), asked for ``rate`` (Hz), or of a video file at its own rate, once.

    Linux's drivers stamp images with the steady clock.

    Raises:
        CameraGone: ``source`` is not there, or gives nothing any more.
    """
    import cv2

    device = source.startswith("/dev/")
    capture = cv2.VideoCapture(source, cv2.CAP_V4L2 if device else cv2.CAP_ANY)
    try:
        if not capture.isOpened():
            raise CameraGone("cannot be opened; is the path right, and may this user read it?")
        if device:
            capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)  # an old image is worth nothing
            capture.set(cv2.CAP_PROP_FPS, rate)
        period = 0.0 if device else 1 / (capture.get(cv2.CAP_PROP_FPS) or rate)
        due = time.monotonic()
        shown = 0
        while not ends.is_set():
            if not capture.grab():
                if device or not shown:
                    raise CameraGone("gives no images any more")
                return
            grabbed = time.monotonic()
            good, pixels = capture.retrieve()
            if not good:
                continue
            at = exposed(capture.get(cv2.CAP_PROP_POS_MSEC) / 1e3, grabbed) if device else grabbed
            shown += 1
            yield pixels[..., ::-1], at  # OpenCV has blue first
            due = max(due + period, time.monotonic() - period)
            ends.wait(max(0.0, due - time.monotonic()))
    finally:
        capture.release()
