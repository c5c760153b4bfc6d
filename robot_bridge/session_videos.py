"""The videos of a recorded session: every camera at the size that it sends, a frame for each row of the recording."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from common.video import StreamedVideo
from robot_bridge.resize import resize

SUFFIX = ".mp4"


class SessionVideos:
    """Encodes pictures (h, w, 3) uint8 of the views into ``folder``, which a killed process leaves playable."""

    def __init__(self, folder: Path, views: Sequence[str], rate: float):
        self._videos = {view: StreamedVideo(folder / f"{view}{SUFFIX}", rate) for view in views}
        self._sizes: dict[str, tuple[int, int]] = {}

    def add(self, pictures: Sequence[np.ndarray]) -> None:
        """One of each view; ``OSError`` when it cannot be written. A camera that changes its size is brought to its
        first."""
        for (view, video), picture in zip(self._videos.items(), pictures, strict=True):
            height, width = picture.shape[:2]
            size = self._sizes.setdefault(view, (height, width))
            video.add(resize(picture, size))

    def close(self) -> None:
        """Writes what is left."""
        for video in self._videos.values():
            video.close()


def videos_in(session: Path, views: Sequence[str]) -> dict[str, Path]:
    """The videos that a session left, by their view."""
    files = {view: session / f"{view}{SUFFIX}" for view in views}
    return {view: file for view, file in files.items() if file.exists()}


def video_path(demonstrations: Path, demo: int, view: str) -> Path:
    """Where the video of an episode lies beside its file, ``<task>_demo.videos/demo_<k>_<view>.mp4``."""
    return demonstrations.with_suffix(".videos") / f"demo_{demo}_{view}{SUFFIX}"


def keep_videos(videos: Mapping[str, Path], demonstrations: Path, demo: int) -> None:
    """Moves a session's videos to their episode."""
    for view, file in videos.items():
        path = video_path(demonstrations, demo, view)
        path.parent.mkdir(parents=True, exist_ok=True)
        file.replace(path)
