"""What can be looked at: demonstrations, images and videos, all as streams of frames at 20 Hz.

Frames come one after the other and are never held together in memory. Whatever had to be converted on the way
(cropped, resampled, left out) is stated in the clip's notes.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from common.conventions import CONTROL_FREQUENCY, HORIZON, VIEWS
from common.errors import UserError
from demos.hdf5 import DemoReader
from demos.tracks import HOW_TO_GET_TRACKS, TrackFileError, TrackReader, normalized, resampled, track_folder

BLACK = "black"
"""Stands for a camera that is not there."""


@dataclass(frozen=True, eq=False)
class Frame:
    """One moment: images (v, h, w, 3) uint8 upright RGB; proprio (9,) and action (7,) where they are known; tracks
    (v, 16, n, 2), the true paths from here on, (row, col) in [-1, 1], where they are known."""

    images: np.ndarray
    proprio: np.ndarray | None = None
    action: np.ndarray | None = None
    tracks: np.ndarray | None = None


@dataclass(frozen=True)
class Clip:
    """A stream of frames with its instruction. ``frames()`` begins it anew each time it is called."""

    name: str
    text: str
    frames: Callable[[], Iterator[Frame]]
    notes: tuple[str, ...] = ()
    still: bool = False
    """A single picture, not a film."""


def demonstration_clip(
    argument: str, views: Sequence[str], *, text: str | None = None, tracks: Path | None = None
) -> Clip:
    """``file.hdf5:demo_3`` (or ``:3``; without a number the first episode).

    Tracks are looked for under ``tracks``, else beside the demonstrations: for ``X/demos/SUITE/TASK_demo.hdf5`` under
    ``X/tracks``, and under ``preprocessed_data``. Without ``tracks`` being named they may be missing.

    Raises:
        UserError: no such file, episode or view, or the tracks asked for are missing or of another collection.
    """
    path_text, _, which = argument.rpartition(":") if ".hdf5:" in argument else (argument, "", "demo_0")
    path, name = Path(path_text), which if which.startswith("demo_") else f"demo_{which}"
    with DemoReader(path) as reader:
        if name not in reader.names:
            raise UserError(f"{path} has no {name}; it has {reader.names[0]} to {reader.names[-1]}")
        index, instruction = reader.names.index(name), text or reader.language
        steps = reader.steps(index)
        for view in views:
            if view not in VIEWS:
                raise UserError(f"the bundle sees the view '{view}', which demonstrations do not have")
            reader.image_size(index, view)
    roots = [tracks] if tracks else [path.resolve().parents[2] / "tracks", Path("preprocessed_data")]
    wanted = [track_folder(root, path.resolve().parent.name, path) / f"{name}.hdf5" for root in roots]
    track_file = next((file for file in wanted if file.exists()), None)
    notes: tuple[str, ...] = ()
    if track_file is None:
        if tracks:
            raise TrackFileError(f"no tracks at {wanted[0]}; {HOW_TO_GET_TRACKS}")
        notes = (f"no tracks at {wanted[0]}: nothing to compare predictions with",)
    else:
        with TrackReader(track_file) as found:
            if found.shape[0] != steps:
                raise TrackFileError(
                    f"{track_file} has tracks of {found.shape[0]} frames, but {path}:{name} has {steps} steps; "
                    "they belong to another collection"
                )

    def frames() -> Iterator[Frame]:
        with DemoReader(path) as reader:
            actions = reader.read(index, "actions")
            proprio = np.concatenate([reader.read(index, name) for name in ("joint_states", "gripper_states")], axis=1)
            images = [reader.mapped(index, f"{view}_rgb") for view in views]
            truth = TrackReader(track_file) if track_file else None
            for step in range(steps):
                seen = [
                    mapped[step] if mapped is not None else reader.read(index, f"{view}_rgb", step)
                    for mapped, view in zip(images, views, strict=True)
                ]
                paths = None
                if truth is not None:
                    size = np.array(truth.image_size or seen[0].shape[:2], np.float32)
                    points = np.concatenate([truth.read(view, step).points for view in views])
                    paths = resampled(normalized(points, size), HORIZON)
                yield Frame(np.stack(seen), proprio[step], actions[step], paths)
            if truth is not None:
                truth.close()

    return Clip(f"{path.stem.removesuffix('_demo')}-{name}", instruction, frames, notes)


def image_clip(arguments: Sequence[str], views: Sequence[str], text: str) -> Clip:
    """Image files, one for each view: in the bundle's order, or ``VIEW=FILE``; ``VIEW=black`` for a missing camera."""
    files, images, notes = _per_view(arguments, views, "image"), {}, []
    for view, file in files.items():
        if file == BLACK:
            notes.append(f"{view}: no camera, shown black")
            continue
        image = cv2.imread(_existing(file), cv2.IMREAD_COLOR)
        if image is None:
            raise UserError(f"{file} is not an image that OpenCV reads; use PNG or JPEG")
        images[view] = _square(cv2.cvtColor(image, cv2.COLOR_BGR2RGB))
        notes += _crop_note(file, image.shape[:2])
    frame = Frame(_stack(images, views))
    return Clip(
        Path(next(f for f in files.values() if f != BLACK)).stem, text, lambda: iter([frame]), tuple(notes), True
    )


def video_clip(arguments: Sequence[str], views: Sequence[str], text: str) -> Clip:
    """Video files, one for each view as ``image_clip`` takes them, or one that has all views side by side.

    Frames are taken at 20 a second, the middles of other shapes than a square are cut out, and the shortest video
    ends the clip.
    """
    if len(arguments) == 1 and len(views) > 1 and "=" not in arguments[0]:
        rate, (height, width) = _properties(arguments[0])
        if width != len(views) * height:
            raise UserError(
                f"the bundle sees {len(views)} views ({', '.join(views)}), and {arguments[0]} ({width} x {height}) is "
                f"not {len(views)} squares side by side; give a video for each, --video {views[0]}=FILE --video "
                f"{views[1]}=FILE, or {views[1]}=black for a camera that is missing"
            )
        whole = arguments[0]
        notes = [f"{whole}: {len(views)} views side by side: {', '.join(views)}", *_rate_note(whole, rate)]

        def frames() -> Iterator[Frame]:
            for image in _decode(whole):
                yield Frame(np.stack(np.split(image, len(views), axis=1)))

        return Clip(Path(whole).stem, text, frames, tuple(notes))
    files = {view: file for view, file in _per_view(arguments, views, "video").items() if file != BLACK}
    notes = [f"{view}: no camera, shown black" for view in views if view not in files]
    for file in files.values():
        rate, size = _properties(file)
        notes += [*_rate_note(file, rate), *_crop_note(file, size)]

    def streams() -> Iterator[Frame]:
        for images in zip(*(_decode(file) for file in files.values()), strict=False):
            yield Frame(_stack({view: _square(image) for view, image in zip(files, images, strict=True)}, views))

    return Clip(Path(next(iter(files.values()))).stem, text, streams, tuple(notes))


def _per_view(arguments: Sequence[str], views: Sequence[str], kind: str) -> dict[str, str]:
    """File of each view from ``VIEW=FILE`` or plain files in order."""
    named = dict(argument.split("=", 1) for argument in arguments if argument.split("=", 1)[0] in views)
    rest = [argument for argument in arguments if argument.split("=", 1)[0] not in views]
    open_views = [view for view in views if view not in named]
    if len(rest) != len(open_views):
        raise UserError(
            f"the bundle sees {len(views)} views ({', '.join(views)}), {len(arguments)} given; give one --{kind} for "
            f"each, or --{kind} VIEW=black for a camera that is missing"
        )
    files = named | dict(zip(open_views, rest, strict=True))
    if all(file == BLACK for file in files.values()):
        raise UserError(f"every view is black; give at least one --{kind} file")
    return {view: files[view] for view in views}


def _existing(file: str) -> str:
    if not Path(file).is_file():
        raise UserError(f"no file at {file}")
    return file


def _properties(file: str) -> tuple[float, tuple[int, int]]:
    """Frames a second and (height, width) of a video."""
    capture = cv2.VideoCapture(_existing(file))
    try:
        rate, height, width = (
            capture.get(key) for key in (cv2.CAP_PROP_FPS, cv2.CAP_PROP_FRAME_HEIGHT, cv2.CAP_PROP_FRAME_WIDTH)
        )
        if not capture.isOpened() or not capture.grab() or rate <= 0:
            raise UserError(f"{file} is not a video that can be decoded here; convert it to MP4 (H.264)")
        return rate, (int(height), int(width))
    finally:
        capture.release()


def _decode(file: str) -> Iterator[np.ndarray]:
    """Frames (h, w, 3) RGB of a video, 20 a second: the frame that shows at each time, twice where it is slower."""
    capture = cv2.VideoCapture(file)
    try:
        rate, read, shown, image = capture.get(cv2.CAP_PROP_FPS), -1, 0, None
        while True:
            wanted = int(shown * rate / CONTROL_FREQUENCY + 1e-6)
            while read < wanted:
                if not capture.grab():
                    return
                read, image = read + 1, None
            if image is None:
                _, decoded = capture.retrieve()
                image = cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB)
            yield image
            shown += 1
    finally:
        capture.release()


def _square(image: np.ndarray) -> np.ndarray:
    """The middle square of an image (h, w, 3)."""
    height, width = image.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return image[top : top + side, left : left + side]


def _stack(images: dict[str, np.ndarray], views: Sequence[str]) -> np.ndarray:
    """Square images of some views -> (v, s, s, 3), all of the size of the smallest; missing ones are black."""
    side = min(image.shape[0] for image in images.values())
    black = np.zeros((side, side, 3), np.uint8)
    return np.stack([resize(images[view], side) if view in images else black for view in views])


def resize(image: np.ndarray, side: int) -> np.ndarray:
    """A square image (s, s, 3) at another size, averaged when it shrinks."""
    if image.shape[:2] == (side, side):
        return image
    shrinks = side < image.shape[0]
    return cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)


def _crop_note(file: str, size: tuple[int, int]) -> list[str]:
    height, width = size
    return [] if height == width else [f"{file}: the middle {min(size)} x {min(size)} of {width} x {height} is used"]


def _rate_note(file: str, rate: float) -> list[str]:
    return (
        [] if abs(rate - CONTROL_FREQUENCY) < 0.01 else [f"{file}: {rate:g} frames/s, taken at {CONTROL_FREQUENCY:g}"]
    )
