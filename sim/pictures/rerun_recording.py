"""Writes a clip as a Rerun recording (.rrd): images, tracks, codes, actions and proprioception on one time line.

Opened with ``rerun FILE.rrd`` or at https://app.rerun.io; the SDK is optional (``pip install rerun-sdk``).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from common.conventions import CONTROL_FREQUENCY
from common.errors import UserError
from sim.pictures.inputs import Frame
from sim.pictures.overlay import SAMPLE_COLORS, moving, time_colors, to_pixels
from sim.pictures.predictions import Prediction

ACTIONS = ("x", "y", "z", "rotation x", "rotation y", "rotation z", "gripper")
PROPRIOCEPTION = (*(f"joint {number}" for number in range(1, 8)), "finger 1", "finger 2")

PIECE = 3
"""Steps of a path that share a colour; the SDK takes its time for every piece."""


class RerunMissing(UserError):
    """The Rerun SDK is not installed."""


def sdk() -> Any:
    """The ``rerun`` module.

    Raises:
        RerunMissing: it is not installed.
    """
    try:
        import rerun
    except ImportError as error:
        raise RerunMissing("Rerun recordings need its SDK: pip install rerun-sdk") from error
    return rerun


class RerunRecording:
    """Streams frames into ``path``. ``image_size`` (h, w): whose pixels decide which points move."""

    def __init__(self, path: Path, title: str, views: Sequence[str], image_size: tuple[int, int]) -> None:
        self._rr = sdk()
        self._views, self._size = views, image_size
        self._stream = self._rr.RecordingStream("amplify", make_default=False)
        self._stream.save(str(path), default_blueprint=self._blueprint())
        self._stream.send_recording_name(title)
        for path_, names in (("action", ACTIONS), ("proprio", PROPRIOCEPTION)):
            self._stream.log(path_, self._rr.SeriesLines(names=list(names)), static=True)

    def add(self, step: int, frame: Frame, prediction: Prediction) -> None:
        """One frame; of its prediction only when it is new."""
        rr, stream = self._rr, self._stream
        stream.set_time("step", sequence=step)
        stream.set_time("time", duration=step / CONTROL_FREQUENCY)
        for view, image in zip(self._views, frame.images, strict=True):
            stream.log(f"{view}/image", rr.Image(image).compress(jpeg_quality=90))
        for path, values in (("action", frame.action), ("proprio", frame.proprio)):
            if values is not None:
                stream.log(path, rr.Scalars(np.asarray(values, np.float64)))
        if step == prediction.step:
            stream.log("codes", rr.BarChart(prediction.codes))
            for name, value in prediction.metrics.items():
                if "/" not in name:  # of all views together
                    stream.log(f"metrics/{name}", rr.Scalars(value))
            self._tracks(frame.images.shape[2:4], prediction)

    def close(self) -> None:
        """Finish the file."""
        self._stream.flush()
        self._stream.disconnect()

    def _tracks(self, size: tuple[int, int], prediction: Prediction) -> None:
        for number, view in enumerate(self._views):
            for kind, points in (("predicted", prediction.points), ("true", prediction.truth)):
                if points is not None:
                    self._log_tracks(f"{view}/{kind}", points[number], size)
            for sample, points in enumerate(prediction.samples if prediction.samples is not None else ()):
                self._log_tracks(
                    f"{view}/sample_{sample}", points[number], size, SAMPLE_COLORS[sample % len(SAMPLE_COLORS)]
                )

    def _log_tracks(
        self, path: str, points: np.ndarray, size: tuple[int, int], color: np.ndarray | None = None
    ) -> None:
        """All moving points, their paths in pieces of ``PIECE`` steps with one colour each."""
        chosen = points[:, moving(points, self._size)]
        # Rerun counts from the outer edge of the first pixel, OpenCV from its centre.
        pixels = to_pixels(chosen, size) + 0.5
        starts = range(0, len(pixels) - 1, PIECE)
        strips = [strip for start in starts for strip in pixels[start : start + PIECE + 1].transpose(1, 0, 2)]
        colors = time_colors(len(starts)) if color is None else np.tile(color, (len(starts), 1))
        colors = np.repeat(colors, pixels.shape[1], axis=0)
        self._stream.log(path, self._rr.LineStrips2D(strips, colors=colors, radii=0.3))

    def _blueprint(self) -> Any:
        import rerun.blueprint as rrb

        views = [rrb.Spatial2DView(origin=view, name=view) for view in self._views]
        series = [rrb.TimeSeriesView(origin=path, name=path) for path in ("action", "proprio", "metrics")]
        codes = rrb.BarChartView(origin="codes", name="codes")
        return rrb.Blueprint(rrb.Vertical(rrb.Horizontal(*views), rrb.Horizontal(*series, codes), row_shares=[2, 1]))
