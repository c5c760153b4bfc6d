"""A video as the pipeline takes it: frames, and what is known of them."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from common.errors import UserError

OFF = 0.1
"""How far off the image, as a part of its size, a joint may be that is said to be seen."""


@dataclass(frozen=True)
class Video:
    """One video, its frames not yet decoded.

    ``points`` (t, j, 2) x and y of joints in pixels, and ``visible`` (t, j) whether they are seen; ``caption`` what a
    person says that it shows; ``codes`` gives the motion codes (n, s) that follow the frames of these numbers (n,).
    """

    name: str
    frames: Callable[[], Iterable[np.ndarray]]
    points: np.ndarray | None = None
    visible: np.ndarray | None = None
    caption: str | None = None
    codes: Callable[[np.ndarray], np.ndarray] | None = None

    def joints(self, count: int, width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
        """``points`` and ``visible`` of a video that turned out to have ``count`` frames of this size.

        Raises:
            UserError: there are none, or they are not of these frames.
        """
        if self.points is None or self.visible is None:
            raise UserError(f"{self.name} has no joints; label it, or leave coords out (--without coords)")
        if len(self.points) != count:
            raise UserError(f"{self.name}: {len(self.points)} frames are labelled, the video has {count}")
        beyond = np.maximum(-self.points, self.points - (width, height)) / (width, height)
        if (wrong := self.visible & (beyond > OFF).any(-1)).any():
            frame, joint = np.argwhere(wrong)[0]
            x, y = self.points[frame, joint]
            raise UserError(
                f"{self.name} frame {frame}: joint {joint} is said to be seen at ({x:.0f}, {y:.0f}), which is off the "
                f"{width} x {height} px image; are the labels of another size?"
            )
        return self.points, self.visible


class Source(Protocol):
    """Many videos of one kind."""

    kind: str
    """for the manifest, with all that distinguishes it"""
    lines: tuple[tuple[int, ...], ...]
    """which joints to join when drawing: the first with the other, or with the middle of the others"""
    modalities: tuple[str, ...]
    """what is known of the videos beside their frames: coords, captions"""

    def names(self) -> list[str]:
        """All videos, in the order in which their pairs are numbered."""
        ...

    def fingerprint(self, name: str) -> str:
        """Changes when the video does."""
        ...

    def read(self, name: str) -> Video:
        """A video.

        Raises:
            UserError: it cannot be read.
        """
        ...


def fingerprint_of(*paths: Path) -> str:
    """Sizes of files, and how many there are."""
    sizes = [path.stat().st_size if path.exists() else 0 for path in paths]
    return f"{len(sizes)} files, {sum(sizes)} bytes"
