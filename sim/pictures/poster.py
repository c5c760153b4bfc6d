"""Posters: one small JPEG of an episode, which shows how it ended."""

from pathlib import Path

import cv2
import numpy as np

from common.files import replacing

QUALITY = 85


def save_poster(image: np.ndarray, path: Path) -> None:
    """Write ``image`` (h, w, 3) uint8 RGB."""
    _, encoded = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    with replacing(path) as temporary:
        temporary.write_bytes(encoded.tobytes())


def save_poster_of_film(film: Path, path: Path) -> bool:
    """Write the last frame of a film; false for one that cannot be read."""
    capture = cv2.VideoCapture(str(film))
    try:
        frame = None
        while capture.grab():
            _, frame = capture.retrieve()
        if frame is None:
            return False
        save_poster(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB), path)
        return True
    finally:
        capture.release()
