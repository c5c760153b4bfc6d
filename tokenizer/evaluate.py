"""Measures how much motion survives a tokenizer, on demonstrations with tracks.

  python -m tokenizer.evaluate runs/motion_tokenizer/mine/best.safetensors '[libero_10:traj-0.1]'

Trajectories are encoded into codes and decoded again, once by argmax (a motion is its likeliest class, as published)
and once by expectation (it is the mean). Every measure stands beside that of points that do not move, which most points
do not, for all views and for each. Motion explained is the part of their squared error that is gone.
"""

import json
from pathlib import Path

from common import cli
from common.files import replacing
from demos.roots import DataRoots
from tokenizer.tracks.evaluation import DECODINGS, evaluate
from tokenizer.tracks.metrics import metrics_text
from tokenizer.tracks.model import MotionTokenizer
from tokenizer.tracks.published import read_tokenizer
from tokenizer.tracks.recipe import track_frames


def main(argv: list[str]) -> None:
    parser = cli.CommandParser("tokenizer.evaluate", __doc__)
    parser.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help="a track tokenizer")
    parser.add_argument("datasets", metavar="DATASETS", help="demonstrations, e.g. [libero_10:traj-0.1]")
    DataRoots.add_options(parser)
    parser.add_argument("--frames", type=cli.positive, default=512, metavar="N", help="spread evenly (default 512)")
    cli.add_device(parser)
    parser.add_argument("--out", type=Path, metavar="FILE", help="default CHECKPOINT with .evaluation.json as suffix")
    args = parser.parse_args(argv)

    found = read_tokenizer(args.checkpoint)
    model = MotionTokenizer.load(args.checkpoint).to(args.device)
    frames = track_frames(DataRoots.of_options(args), args.datasets, model.config)
    measures = evaluate(model, frames, args.frames)

    count = min(args.frames, len(frames))
    print(f"{args.checkpoint} {found.digest} on {args.datasets}: {count} of {len(frames)} frames")
    for decoding in DECODINGS:
        print(f"decoded by {decoding}: {metrics_text(measures[decoding])}")
    print(f"{model.config.actual_codebook_size} codes: {metrics_text(measures['codes'])}")
    out = args.out or args.checkpoint.with_suffix(".evaluation.json")
    document = {"checkpoint": str(args.checkpoint), "digest": found.digest, "datasets": args.datasets, "frames": count}
    with replacing(out) as temporary:
        temporary.write_text(json.dumps(document | measures, indent=1) + "\n")
    print(f"wrote {out}")


if __name__ == "__main__":
    cli.run(main)
