"""Cuts long demonstrations into their actions by the energy of their motion tokens, and draws the cuts.

  python -m tokenizer.segment CHECKPOINT '[libero_10:traj-0.1]' --tune '[libero_10:traj0.8]'
  python -m tokenizer.segment CHECKPOINT '[mine:traj1]' --threshold 0.002
  python -m tokenizer.segment CHECKPOINT '[mine:traj1]' --source quantized --stride 2 --smoothing 0.7 --gaps 0

Where the hand moves, tokens decode to motion; where it holds still, to grasp or to let go, they do not. An action
begins where this speed reaches a threshold and ends where it falls well below; a long enough stillness between two
actions is one, too. The threshold is of one checkpoint: the one named; or the best on the demonstrations of --tune
whose actions are known (those of sim.collect); or that which agrees best with where points move. Files land in --out:
segments.json and a picture of each demonstration. The other sources and measures are those of LAPS.

Where the true actions are known, the cuts are scored: F1 of segments that overlap by half and by three quarters.
"""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from rich.console import Console
from rich.progress import track

from common import cli
from common.conventions import CONTROL_FREQUENCY
from common.errors import UserError
from common.files import replacing
from demos.dataset import FrameDataset
from demos.phases import Segment
from demos.roots import DataRoots
from tokenizer.segmentation.cutting import Cutting, confidence
from tokenizer.segmentation.episodes import EnergyOptions, Series, series_of
from tokenizer.segmentation.picture import picture
from tokenizer.segmentation.scores import F1, boundary_f1, mean_average_precision, segment_f1
from tokenizer.segmentation.thresholds import best_by_score, best_without_truth, candidates
from tokenizer.tracks.model import MotionTokenizer
from tokenizer.tracks.published import read_tokenizer
from tokenizer.tracks.recipe import track_frames

PICTURED = 10
"""Images in a picture."""


def parser() -> cli.CommandParser:
    """The command line."""
    command = cli.CommandParser("tokenizer.segment", __doc__)
    command.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help="a track tokenizer")
    command.add_argument("datasets", metavar="DATASETS", help="demonstrations to cut, e.g. [libero_10:traj-0.1]")
    command.add_argument("--tune", metavar="DATASETS", help="demonstrations to choose the threshold on")
    command.add_argument("--threshold", type=float, help="energy from which on something happens")
    command.add_argument(
        "--source",
        choices=("decoded", "quantized", "prequant", "velocity"),
        default="decoded",
        help="of the energy: the speed that tokens decode to (default), token vectors, or the true speed",
    )
    command.add_argument("--view", default="agentview", help="of decoded and velocity (default agentview)")
    command.add_argument("--measure", choices=("change", "length"), default="change", help="of token vectors")
    command.add_argument("--stride", type=cli.positive, default=1, help="frames from window to window (default 1)")
    command.add_argument("--smoothing", type=float, default=1.0, help="weight of the new energy (default 1: none)")
    command.add_argument("--gate", action="store_true", help="no energy where next to nothing moves, as LAPS does")
    command.add_argument("--hysteresis", type=float, default=0.6, help="where actions end, of the threshold (0.6)")
    command.add_argument("--shortest", type=float, default=0.4, help="seconds of an action (default 0.4)")
    command.add_argument("--longest", type=float, default=0.0, help="seconds of an action (default 0: any)")
    command.add_argument("--gaps", type=float, default=0.3, help="seconds of stillness that are an action (0: none)")
    command.add_argument("--align", choices=("center", "laps"), default="center", help="where cuts are put")
    command.add_argument("--out", type=Path, default=Path("segments"), metavar="DIR", help="default segments")
    DataRoots.add_options(command)
    cli.add_device(command)
    return command


def main(argv: list[str]) -> None:
    args = parser().parse_args(argv)
    found = read_tokenizer(args.checkpoint)
    model = MotionTokenizer.load(args.checkpoint).to(args.device)
    options = EnergyOptions(
        source=args.source,
        view=args.view,
        measure=args.measure,
        stride=args.stride,
        smoothing=args.smoothing,
        gate=args.gate,
    )
    roots = DataRoots.of_options(args)

    def read(datasets: str) -> tuple[FrameDataset, list[Series]]:
        console = Console(stderr=True)
        frames = track_frames(roots, datasets, model.config, with_images=True)
        episodes = track(frames.episodes, datasets, console=console, disable=not console.is_terminal)
        return frames, [series_of(model, frames, episode, options) for episode in episodes]

    frames, series = read(args.datasets)
    step = args.stride / CONTROL_FREQUENCY
    cutting = Cutting(
        threshold=0.0,
        hysteresis=args.hysteresis,
        cooldown=0,
        longest=round(args.longest / step),
        shortest=round(args.shortest / step),
        gaps=args.gaps,
        align=args.align,
    )
    if args.threshold is not None:
        threshold = args.threshold
    elif args.tune:
        threshold = _tuned(read(args.tune)[1], cutting)
    else:
        threshold = float(np.median([best_without_truth(one.energy, one.velocity) for one in series]))
    cutting = replace(cutting, threshold=threshold)
    segments = [one.cut(cutting) for one in series]

    for one, of_one in zip(series, segments, strict=True):
        _draw(args.out, frames, one, of_one, cutting)
    scores = _scores(series, segments)
    document = {
        "checkpoint": str(args.checkpoint),
        "digest": found.digest,
        "datasets": args.datasets,
        "tuned_on": args.tune if args.threshold is None else None,
        "energy": asdict(options),
        "cutting": asdict(cutting),
        "scores": scores,
        "demonstrations": [_described(one, of_one) for one, of_one in zip(series, segments, strict=True)],
    }
    with replacing(args.out / "segments.json") as temporary:
        temporary.write_text(json.dumps(document, indent=1) + "\n")
    count = sum(map(len, segments))
    print(f"{count} actions in {len(series)} demonstrations, energy from {threshold:.4g} on; pictures in {args.out}")
    for name, value in scores.items():
        print(f"  {name:24s} {value:.3f}")


def _tuned(series: list[Series], cutting: Cutting) -> float:
    """The threshold with the best F1 of segments that overlap by half.

    Raises:
        UserError: nobody knows what was done in these demonstrations.
    """
    series = [one for one in series if one.true is not None]
    true = _true(series)
    if not true:
        raise UserError(
            "the demonstrations of --tune do not say what the hand was doing; collect some with "
            "'python -m sim.collect', or name a --threshold"
        )

    def score(threshold: float) -> F1:
        return segment_f1(true, [one.cut(replace(cutting, threshold=threshold)) for one in series], 0.5)

    return best_by_score(list(candidates(np.concatenate([one.energy for one in series]))), score)


def _true(series: list[Series]) -> list[list[Segment]] | None:
    known = [one.true for one in series if one.true is not None]
    return [[segment for _, segment in true] for true in known] if len(known) == len(series) else None


def _scores(series: list[Series], segments: list[list[Segment]]) -> dict[str, float]:
    true = _true(series)
    if true is None:
        return {}
    sure = [
        (video, segment, confidence(series[video].energy, segment, series[video].step))
        for video, of_one in enumerate(segments)
        for segment in of_one
    ]
    near = [
        boundary_f1(wanted, of_one, one.duration, tolerance=0.5).f1
        for wanted, of_one, one in zip(true, segments, series, strict=True)
    ]
    return {
        "F1 at overlap .5": segment_f1(true, segments, 0.5).f1,
        "F1 at overlap .75": segment_f1(true, segments, 0.75).f1,
        "mAP at overlap .5": mean_average_precision(true, sure, 0.5),
        "F1 of cuts within .5 s": float(np.mean(near)),
    }


def _name(series: Series) -> str:
    return f"{series.episode.file.stem.removesuffix('_demo')}.demo_{series.episode.index}"


def _described(series: Series, segments: list[Segment]) -> dict[str, Any]:
    return {
        "name": _name(series),
        "suite": series.episode.file.parent.name,
        "seconds": series.duration,
        "segments": [list(segment) for segment in segments],
        "true": None if series.true is None else [[name, *segment] for name, segment in series.true],
    }


def _draw(out: Path, frames: FrameDataset, series: Series, segments: list[Segment], cutting: Cutting) -> None:
    episode = series.episode
    moments = episode.first_frame + np.linspace(0, episode.steps - 1, PICTURED).astype(np.int64)
    images = frames.images_in_batch(moments)[:, 0]
    title = f"{episode.file.parent.name}: {frames.texts[episode.text_id]} (demo_{episode.index})"
    drawn = picture(series, images, cutting.threshold, segments, title)
    with replacing(out / f"{_name(series)}.png") as temporary:
        Image.fromarray(drawn).save(temporary, format="png")


if __name__ == "__main__":
    cli.run(main)
