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
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from common import cli
from common.cli import not_negative, positive
from common.errors import UserError
from policy import DEFAULT_BUNDLE
from policy.runtimes.options import add_runtime_options, runtime_options
from sim.evaluation.open_policy import open_bundle
from sim.pictures import rerun_recording
from sim.pictures.inputs import Clip, demonstration_clip, image_clip, video_clip
from sim.pictures.predictions import Predictor
from sim.pictures.visualization import FORMATS, visualize
from tokenizer.tracks.metrics import metrics_text

if TYPE_CHECKING:
    from policy.interface import Policy


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
    episode.add_argument("--task", type=not_negative, default=0, metavar="N", help="task number (default 0)")
    episode.add_argument("--episode", type=not_negative, default=0, metavar="N", help="episode number (default 0)")
    episode.add_argument("--seed", type=not_negative, default=0, metavar="N", help="seed of episode 0 (default 0)")
    episode.add_argument(
        "--replan", type=positive, default=8, metavar="K", help="actions executed of a chunk (default 8)"
    )
    episode.add_argument("--max-steps", type=positive, metavar="N", help="step limit (default: the suite's own)")
    episode.add_argument("--assets", metavar="DIR", help="LIBERO's assets, or 'pack'")
    how = command.add_argument_group("how")
    how.add_argument("--checkpoint", type=Path, default=DEFAULT_BUNDLE, metavar="FILE", help="bundle or export")
    how.add_argument(
        "--samples", type=positive, default=1, metavar="N", help="also draw N sampled predictions as a fan"
    )
    how.add_argument(
        "--top-k", type=positive, default=10, metavar="K", help="samples are drawn from the K likeliest codes"
    )
    how.add_argument(
        "--sampling-seed", type=not_negative, default=0, metavar="N", help="decides the samples (default 0)"
    )
    how.add_argument("--every", type=positive, default=8, metavar="N", help="predict every N frames (default 8)")
    how.add_argument("--size", type=positive, default=256, metavar="PIXELS", help="side of a panel (default 256)")
    how.add_argument("--formats", metavar="LIST", help="of png,mp4,gif,rrd (default: all but gif that can be written)")
    how.add_argument("--out", type=Path, default=Path("pictures"), metavar="DIR", help="default: pictures")
    how.add_argument("--device", metavar="NAME", help="device of the policy (default: cuda if there is one, else cpu)")
    add_runtime_options(how)
    how.add_argument("--debug", action="store_true", help="show tracebacks")
    return command


def main(argv: list[str]) -> None:
    """Draw everything that the command line names, and say where it is."""
    options = parser().parse_args(argv)
    formats = _formats(options.formats)
    policy = open_bundle(options.checkpoint, device=options.device, **runtime_options(options))
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
        values = metrics_text(metrics).replace("\n", "\n  ")
        files = ", ".join(sorted(path.name for path in folder.iterdir()))
        print(
            f"{folder}: {files} ({time.perf_counter() - begin:.1f} s)"
            + (f"\n  mean over windows: {values}" if metrics else "")
        )


def _formats(text: str | None) -> tuple[str, ...]:
    if text is None:
        try:
            rerun_recording.sdk()
        except rerun_recording.RerunMissing as missing:
            print(f"no .rrd: {missing}", file=sys.stderr)
            return ("png", "mp4")
        return ("png", "mp4", "rrd")
    formats = tuple(part.strip() for part in text.split(",") if part.strip())
    if unknown := [name for name in formats if name not in FORMATS]:
        raise UserError(f"unknown format '{unknown[0]}'; the formats are {', '.join(FORMATS)}")
    if "rrd" in formats:
        rerun_recording.sdk()
    return formats


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
            demonstration_clip(argument, policy.views, text=options.text, tracks=options.tracks)
            for argument in options.demo
        ]
    elif options.image:
        yield image_clip(options.image, policy.views, options.text)
    elif options.video:
        yield video_clip(options.video, policy.views, options.text)
    else:
        with _episode(options, policy) as clip:
            yield clip


def _episode(options: argparse.Namespace, policy: "Policy") -> AbstractContextManager[Clip]:
    """A live episode, in an environment as the evaluation makes it."""
    from sim.evaluation.chunk_execution import Execution
    from sim.evaluation.live_clip import live_clip
    from sim.evaluation.worker import Job, Rules

    rules = Rules(
        execution=Execution(replan=options.replan),
        max_steps=options.max_steps,
        assets=options.assets,
        image_size=max(policy.image_size),
        fast_render=policy.describe().get("fast_render", False),
    )
    job = Job(options.suite, options.task, options.episode, options.seed + options.episode)
    return live_clip(policy, job, rules, options.text)


if __name__ == "__main__":
    cli.run(main)
