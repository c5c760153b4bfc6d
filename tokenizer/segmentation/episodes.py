"""Demonstrations as series of energies, with what the hand really did where the demonstration knows it."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from common.conventions import CONTROL_FREQUENCY
from common.errors import UserError
from demos.dataset import EpisodeRef, FrameDataset
from demos.hdf5 import DemoReader
from demos.phases import PHASES, Segment, phase_segments
from tokenizer.segmentation.cutting import Cutting, cut
from tokenizer.segmentation.energy import Measure, Source, smoothed, stands_still, token_energy, velocity_energy
from tokenizer.tracks.evaluation import encoder_inputs_at
from tokenizer.tracks.model import MotionTokenizer
from tokenizer.tracks.motion import expected_velocities, points_to_velocities

BATCH = 64
SOME_TRACKS = 100
"""So many points of a view are decoded, at least."""


@dataclass(frozen=True)
class EnergyOptions:
    """How energies are made of a demonstration.

    Args:
        source: the speed of points that the tokens decode to, or their true one, both of the window's first ``steps``
            in one ``view``; or of token vectors before or after they are quantised.
        measure: how much token vectors change, or how long they are.
        stride: frames from one window to the next.
        smoothing: weight of the new value when energies are smoothed; 1 for none.
        gate: windows in which next to nothing moves have no energy.
    """

    source: Source = "decoded"
    view: str = "agentview"
    steps: int = 3
    measure: Measure = "change"
    stride: int = 1
    smoothing: float = 1.0
    gate: bool = False

    @property
    def of_speed(self) -> bool:
        """Whether the energy is a speed, normalised units a step."""
        return self.source in ("decoded", "velocity")


@dataclass(frozen=True, eq=False)
class Series:
    """The energies of one demonstration (w,), one every ``stride`` frames for the ``window`` frames that follow.

    ``velocity`` (w,) is the mean speed of its points in the same windows, ``duration`` its length in seconds, ``true``
    the stretches of what was really done, with their names; None where nobody knows.
    """

    episode: EpisodeRef
    energy: np.ndarray
    velocity: np.ndarray
    stride: int
    window: int
    duration: float
    true: list[tuple[str, Segment]] | None

    @property
    def step(self) -> float:
        """Seconds from window to window."""
        return self.stride / CONTROL_FREQUENCY

    def cut(self, cutting: Cutting) -> list[Segment]:
        """The segments of this demonstration, in seconds."""
        return cut(self.energy, cutting, self.stride, self.window, CONTROL_FREQUENCY, self.duration)


@torch.no_grad()
def series_of(model: MotionTokenizer, frames: FrameDataset, episode: EpisodeRef, options: EnergyOptions) -> Series:
    """Encodes the windows of an episode, which start at every ``stride``-th frame."""
    starts = episode.first_frame + np.arange(0, episode.steps, options.stride)
    energies, speeds = [], []
    for first in range(0, len(starts), BATCH):
        points, images = encoder_inputs_at(model, frames, starts[first : first + BATCH])
        velocities = points_to_velocities(points)
        energy = _energy(model, velocities, images, options)
        if options.gate:
            energy = energy.masked_fill(stands_still(velocities), 0.0)
        energies.append(energy.cpu())
        speeds.append(velocity_energy(velocities).cpu())
    series, velocity = (torch.cat(parts).double().numpy() for parts in (energies, speeds))
    return Series(
        episode,
        smoothed(series, options.smoothing),
        velocity,
        options.stride,
        options.steps if options.of_speed else model.config.true_horizon,
        episode.steps / CONTROL_FREQUENCY,
        true_segments(episode),
    )


def _energy(model: MotionTokenizer, velocities: Tensor, images: Tensor | None, options: EnergyOptions) -> Tensor:
    c = model.config
    if options.of_speed:
        if options.view not in c.views:
            raise UserError(f"there is no view {options.view}; this tokenizer is of {', '.join(c.views)}")
        if options.source == "decoded":
            velocities = _decoded(model, model.encode(velocities, images)[0])
        return velocity_energy(velocities[:, c.views.index(options.view), : options.steps])
    tokens = model.features(velocities, images)
    if options.source == "quantized":
        tokens = model.quantize(tokens)[0]
    views = len(c.views) if c.per_view else 1
    # tokens of two views do not follow each other in time
    return token_energy(tokens.unflatten(1, (views, -1)).flatten(0, 1), options.measure).view(-1, views).mean(1)


def _decoded(model: MotionTokenizer, codes: Tensor) -> Tensor:
    """Codes (b, s, dim) -> velocities (b, v, t, n, 2) of some of the points, enough for a mean."""
    c = model.config
    some = torch.arange(0, c.num_tracks, max(c.num_tracks // SOME_TRACKS, 1), device=codes.device)
    logits = model.decoder(codes, some.expand(len(codes), len(c.views), -1))
    return expected_velocities(logits, c.img_shape, c.rel_cls_img_size)


def true_segments(episode: EpisodeRef) -> list[tuple[str, Segment]] | None:
    """What the hand did, in seconds, as the demonstration file has it."""
    with DemoReader(episode.file) as reader:
        if not reader.has(episode.index, "phases"):
            return None
        phases = reader.read(episode.index, "phases")
        names = str(reader.attributes_of(episode.index).get("phase_names", ",".join(PHASES))).split(",")
    return [
        (name, Segment(segment.start / CONTROL_FREQUENCY, segment.end / CONTROL_FREQUENCY))
        for name, segment in phase_segments(phases, tuple(names))
    ]
