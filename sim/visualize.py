"""See what the policy sees: where it thinks that things will move, drawn over images, videos and demonstrations.

Examples:
  python -m sim.visualize --demo data/demos/libero_10/TASK_demo.hdf5:demo_3
  python -m sim.visualize --demo A.hdf5:demo_0 --demo B.hdf5:demo_1 --samples 8
  python -m sim.visualize --image front.png --image wrist.png --text "open the drawer"
  python -m sim.visualize --video agentview=front.mp4 --video eye_in_hand=black --text "open the drawer"
  python -m sim.visualize --suite libero_10 --task 5 --episode 3     the policy plays, rendered at every step

Every input gets a folder of its own below --out: sheet.png (some moments), video.mp4 (H.264), video.gif,
recording.rrd (Rerun) and predictions.json (codes and metrics of every window). Points that stay where they are are not
drawn; colour tells time, from yellow (now) to violet (16 steps ahead); what has passed fades. Neither LIBERO nor a GPU
nor a network is needed, except LIBERO for --suite.
"""

import argparse
import json
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar

from common import cli
from common.errors import UserError
from common.files import replacing
from policy import DEFAULT_BUNDLE
from sim.pictures import rerun_recording
from sim.pictures.inputs import RATE, Clip, Frame, demonstration, live, pictures, videos
from sim.pictures.predictions import Prediction, Predictor, mean_metrics
from sim.pictures.sheet import Board
from sim.pictures.video import VideoWriter

if TYPE_CHECKING:
    from policy.interface import Policy

Item = TypeVar("Item")
FORMATS = ("png", "mp4", "gif", "rrd")
MOMENTS = 5
"""Rows of a sheet."""
GIF_EVERY = 4
"""A GIF shows every fourth frame."""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    command = cli.CommandParser("sim.visualize", __doc__)
    what = command.add_argument_group("what to look at (one kind)")
    what.add_argument("--demo", action="append", metavar="FILE:DEMO", help="demonstration, e.g. x_demo.hdf5:demo_3")
    what.add_argument("--image", action="append", metavar="FILE", help="image, one for each view, or VIEW=FILE")
    what.add_argument(
        "--video", action="append", metavar="FILE", help="video of each view, or one with all side by side"
    )
    what.add_argument("--suite", metavar="NAME", help="play a LIBERO task of this suite")
    what.add_argument("--text", metavar="TEXT", help="instruction; demonstrations and tasks have their own")
    what.add_argument("--tracks", type=Path, metavar="DIR", help="true tracks (default: beside the demonstrations)")
    episode = command.add_argument_group("with --suite; the same episode as of python -m sim.eval with these")
    episode.add_argument("--task", type=int, default=0, metavar="N", help="task number (default 0)")
    episode.add_argument("--episode", type=int, default=0, metavar="N", help="episode number (default 0)")
    episode.add_argument("--seed", type=int, default=0, metavar="N", help="seed of episode 0 (default 0)")
    episode.add_argument("--replan", type=int, default=8, metavar="K", help="actions executed of a chunk (default 8)")
    episode.add_argument("--max-steps", type=int, metavar="N", help="step limit (default: the suite's own)")
    episode.add_argument("--assets", type=Path, metavar="DIR", help="LIBERO's assets")
    how = command.add_argument_group("how")
    how.add_argument("--checkpoint", type=Path, default=DEFAULT_BUNDLE, metavar="FILE", help="bundle")
    how.add_argument("--samples", type=int, default=1, metavar="N", help="also draw N sampled predictions as a fan")
    how.add_argument("--top-k", type=int, default=10, metavar="K", help="samples are drawn from the K likeliest codes")
    how.add_argument("--sampling-seed", type=int, default=0, metavar="N", help="decides the samples (default 0)")
    how.add_argument("--every", type=int, default=8, metavar="N", help="predict every N frames (default 8)")
    how.add_argument("--size", type=int, default=256, metavar="PIXELS", help="side of a panel (default 256)")
    how.add_argument("--formats", metavar="LIST", help="of png,mp4,gif,rrd (default: all but gif that can be written)")
    how.add_argument("--out", type=Path, default=Path("pictures"), metavar="DIR", help="default: pictures")
    how.add_argument("--device", metavar="NAME", help="device of the policy (default: cuda if there is one, else cpu)")
    how.add_argument("--debug", action="store_true", help="show tracebacks")
    return command


def main(argv: list[str]) -> None:
    options = parser().parse_args(argv)
    formats = _formats(options.formats)
    for name in ("samples", "top_k", "every", "size", "replan"):
        if getattr(options, name) < 1:
            raise UserError(f"--{name.replace('_', '-')} must be at least 1")
    policy = _load(options)
    import torch

    for clip in _clips(options, policy):
        torch.manual_seed(options.sampling_seed)
        begin = time.perf_counter()
        for note in clip.notes:
            print(note, file=sys.stderr)
        predictor = Predictor(policy, clip.text, samples=options.samples, top_k=options.top_k)
        folder, metrics = visualize(
            clip, predictor, options.out, formats=formats, every=options.every, side=options.size
        )
        shown = "  ".join(f"{name} {value:.4g}" for name, value in metrics.items())
        files = ", ".join(sorted(path.name for path in folder.iterdir()))
        print(
            f"{folder}: {files} ({time.perf_counter() - begin:.1f} s)"
            + (f"\n  mean over windows: {shown}" if shown else "")
        )


def visualize(
    clip: Clip,
    predictor: Predictor,
    out: Path,
    *,
    formats: tuple[str, ...] = ("png", "mp4", "rrd"),
    every: int = 8,
    side: int = 256,
) -> tuple[Path, dict[str, float]]:
    """Write the pictures of ``clip`` into a new folder below ``out``.

    Args:
        predictor: asked at every ``every``-th frame.
        formats: some of ``FORMATS``; of a still picture no film is made.
        side: pixels of a panel.

    Returns:
        The folder, and the mean of the metrics (empty without true tracks).
    """
    policy = predictor.policy
    about = policy.describe()
    title = f"{clip.name}   {about.get('name', '')} {str(about.get('hash', ''))[:12]}"
    board = Board(title, clip.text, policy.views, policy.image_size, side)
    moments: Evenly[tuple[int, Frame, Prediction]] = Evenly(MOMENTS)
    windows: list[Prediction] = []
    with new_folder(out, clip.name) as folder, ExitStack() as writers:
        sinks: list[Callable[[int, Frame, Prediction], None]] = []
        if "rrd" in formats:
            rerun = rerun_recording.Recording(folder / "recording.rrd", title, policy.views, policy.image_size)
            sinks.append(writers.enter_context(closing(rerun)).add)
        if not clip.still:
            for kind in ("mp4", "gif"):
                if kind in formats:
                    sinks.append(writers.enter_context(_film(board, folder, kind)))
        step = -1
        for step, frame in enumerate(clip.frames()):
            if step % every == 0:
                prediction = predictor(step, frame)
                windows.append(prediction)
                moments.add((step, frame, prediction))
            for sink in sinks:
                sink(step, frame, prediction)
        if step < 0:
            raise UserError(f"{clip.name} has no frames")
        if "png" in formats:
            _save_png(folder / "sheet.png", board, moments.chosen())
        metrics = mean_metrics([window.metrics for window in windows])
        summary = {
            "text": clip.text,
            "policy": about,
            "notes": clip.notes,
            "metrics": metrics,
            "windows": [{"step": w.step, "codes": w.codes.tolist(), "metrics": w.metrics} for w in windows],
        }
        with replacing(folder / "predictions.json") as temporary:
            temporary.write_text(json.dumps(summary, indent=1) + "\n")
    return folder, metrics


class Evenly(Generic[Item]):
    """Keeps about evenly spread items of a stream whose length nobody knows, never more than twice ``number``."""

    def __init__(self, number: int) -> None:
        self._number, self._stride, self._seen = number, 1, 0
        self._items: list[Item] = []

    def add(self, item: Item) -> None:
        if self._seen % self._stride == 0:
            self._items.append(item)
            if len(self._items) == 2 * self._number:
                self._items, self._stride = self._items[::2], 2 * self._stride
        self._seen += 1

    def chosen(self) -> list[Item]:
        """At most ``number`` of the items, the first and about the last among them."""
        count = len(self._items)
        if count <= self._number:
            return self._items
        return [self._items[round(i * (count - 1) / (self._number - 1))] for i in range(self._number)]


@contextmanager
def new_folder(out: Path, name: str) -> Iterator[Path]:
    """A folder that nobody has used: ``out/name``, or ``out/name-2`` and so on; removed again if the block raises."""
    out.mkdir(parents=True, exist_ok=True)
    number = 1
    while True:
        folder = out / (name if number == 1 else f"{name}-{number}")
        try:
            folder.mkdir()  # whoever makes it, owns it
            break
        except FileExistsError:
            number += 1
    try:
        yield folder
    except BaseException:
        shutil.rmtree(folder)
        raise


@contextmanager
def _film(board: Board, folder: Path, kind: str) -> Iterator[Callable[[int, Frame, Prediction], None]]:
    every = GIF_EVERY if kind == "gif" else 1
    writer = VideoWriter(folder / "video", RATE / every, gif=kind == "gif")

    def add(step: int, frame: Frame, prediction: Prediction) -> None:
        if step % every == 0:
            writer.add(board.frame(step, frame, prediction))

    try:
        yield add
    except BaseException:
        writer.discard()
        raise
    writer.keep(folder / f"video.{kind}")


def _save_png(path: Path, board: Board, moments: list[tuple[int, Frame, Prediction]]) -> None:
    from PIL import Image

    with replacing(path) as temporary:
        Image.fromarray(board.sheet(moments)).save(temporary, "PNG")


def _formats(text: str | None) -> tuple[str, ...]:
    if text is None:
        try:
            rerun_recording.sdk()
        except rerun_recording.RecordingMissing as missing:
            print(f"no .rrd: {missing}", file=sys.stderr)
            return ("png", "mp4")
        return ("png", "mp4", "rrd")
    formats = tuple(part.strip() for part in text.split(",") if part.strip())
    if unknown := [name for name in formats if name not in FORMATS]:
        raise UserError(f"unknown format '{unknown[0]}'; the formats are {', '.join(FORMATS)}")
    if "rrd" in formats:
        rerun_recording.sdk()
    return formats


def _load(options: argparse.Namespace) -> "Policy":
    if not options.checkpoint.is_file():
        raise UserError(f"no bundle at {options.checkpoint}; name one with --checkpoint FILE")
    import torch

    from policy import load_policy

    return load_policy(options.checkpoint, device=options.device or ("cuda" if torch.cuda.is_available() else "cpu"))


def _clips(options: argparse.Namespace, policy: "Policy") -> Iterator[Clip]:
    """What the command line names, each opened when it is its turn."""
    given = [name for name in ("demo", "image", "video", "suite") if getattr(options, name)]
    if len(given) != 1:
        raise UserError(
            "say what to look at: --demo FILE:DEMO, --image FILE, --video FILE or --suite NAME"
            + (f", not {' and '.join('--' + name for name in given)} together" if given else "")
        )
    if given[0] in ("image", "video") and not options.text:
        raise UserError(f'--{given[0]} needs the instruction: --text "open the drawer"')
    if options.demo:
        # All are checked before the first is drawn.
        yield from [
            demonstration(argument, policy.views, text=options.text, tracks=options.tracks) for argument in options.demo
        ]
    elif options.image:
        yield pictures(options.image, policy.views, options.text)
    elif options.video:
        yield videos(options.video, policy.views, options.text)
    else:
        with _episode(options, policy) as clip:
            yield clip


def _episode(options: argparse.Namespace, policy: "Policy") -> AbstractContextManager[Clip]:
    """A live episode with an environment as the evaluation makes it."""
    from sim.evaluation.worker import Job, Rules
    from sim.libero.env import LiberoEnv

    @contextmanager
    def opened() -> Iterator[Clip]:
        env = LiberoEnv(
            options.suite,
            options.task,
            assets=options.assets,
            image_size=max(policy.image_size),
            fast_render=policy.describe().get("fast_render", False),
        )
        try:
            job = Job(options.suite, options.task, options.episode, options.seed + options.episode)
            rules = Rules(replan=options.replan, max_steps=options.max_steps)
            yield live(policy, env, job, rules, options.text)
        finally:
            env.close()

    return opened()


if __name__ == "__main__":
    cli.run(main)
