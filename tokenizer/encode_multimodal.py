"""Turns videos into multimodal tokens: pairs of frames, their images, joints and captions, split to train and test on.

  python -m tokenizer.encode_multimodal '[libero_10:traj1]' --images images.safetensors --out tokens/
  python -m tokenizer.encode_multimodal videos/ --images cosmos_folder/ --out tokens/ --captions blip
  python -m tokenizer.encode_multimodal Penn_Action/ --images cosmos --out tokens/ --fit squash --split pair

Videos are a folder of them (clip.mp4, beside it clip.npz with joints and clip.txt with a caption where there are any),
Penn Action, or demonstrations, whose arm is projected and whose instruction is the caption. --images is a checkpoint of
python -m tokenizer.train_images, a folder with Cosmos' encoder.jit and decoder.jit, or cosmos: those from the hub.

A run that was killed goes on when it is started again, with the same result; tokens that were damaged are made again. A
video that cannot be used is left out and listed.
"""

import time
from collections.abc import Iterable
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import track

from common import cli
from common.errors import UserError
from demos.roots import DataRoots
from tokenizer.multimodal.captions import LENGTH, Blip
from tokenizer.multimodal.coordinates import BINS
from tokenizer.multimodal.frame_pairs import THRESHOLD
from tokenizer.multimodal.image_tokenizers import open_image_tokenizer
from tokenizer.multimodal.motion_codes import MotionCodes
from tokenizer.multimodal.pipeline import Pipeline, PipelineOptions
from tokenizer.multimodal.sources import open_source
from tokenizer.multimodal.store import TokenStore


def parser() -> cli.CommandParser:
    """The command line."""
    command = cli.CommandParser("tokenizer.encode_multimodal", __doc__)
    command.add_argument("videos", metavar="VIDEOS", help="a folder, or demonstrations, e.g. [libero_10:traj1]")
    command.add_argument("--images", required=True, metavar="TOKENIZER", help="image tokenizer")
    command.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32", help="of Cosmos (float32)")
    command.add_argument("--out", type=Path, required=True, metavar="DIR", help="where tokens go")
    command.add_argument("--fit", choices=("crop", "squash"), default="crop", help="how frames become square (crop)")
    command.add_argument(
        "--threshold", type=float, default=THRESHOLD, help=f"SSIM below which frames differ ({THRESHOLD})"
    )
    command.add_argument("--bins", type=cli.positive, default=BINS, help=f"of coordinates ({BINS})")
    command.add_argument("--captions", choices=("given", "blip"), default="given", help="where they come from (given)")
    command.add_argument("--caption-length", type=cli.positive, default=LENGTH, help=f"tokens at most ({LENGTH})")
    command.add_argument(
        "--without", default="", metavar="NAMES", help="leave out coords, captions, or coords,captions"
    )
    command.add_argument("--split", choices=("video", "pair"), default="video", help="what is held out whole (video)")
    command.add_argument(
        "--codes", type=Path, metavar="CHECKPOINT", help="track tokenizer: demonstrations get motion codes, too"
    )
    DataRoots.add_options(command)
    cli.add_device(command)
    return command


def main(argv: list[str]) -> None:
    args = parser().parse_args(argv)
    options = PipelineOptions(
        fit=args.fit,
        threshold=args.threshold,
        without=frozenset(filter(None, args.without.split(","))),
        caption_length=args.caption_length,
        bins=args.bins,
    )
    codes = MotionCodes(args.codes, args.videos, DataRoots.of_options(args), args.device) if args.codes else None
    source = open_source(args.videos, args.demos_root, codes)
    images = open_image_tokenizer(args.images, getattr(torch, args.dtype), args.device)
    store = TokenStore(args.out)
    captioner = Blip(args.device) if args.captions == "blip" else None
    console = Console(stderr=True)

    def shown(names: list[str]) -> Iterable[str]:
        return track(names, "videos", console=console, disable=not console.is_terminal)

    started = time.perf_counter()
    made = list(Pipeline(source, images, store, options, captioner, codes).run(shown))
    seconds = time.perf_counter() - started
    records = store.records().values()
    left_out = [record for record in records if record.left_out is not None]
    for record in left_out:
        print(f"left out {record.video}: {record.left_out}")
    if not any(record.pairs for record in records):
        raise UserError(
            f"none of {len(records)} videos has a pair of different frames; see above, or raise --threshold"
        )
    if not store.is_split:
        store.split(args.split)
    manifest, rate = store.manifest(), f", {len(made) / seconds:.2f} a second" if made else ""
    if manifest["split"] != args.split:
        raise UserError(f"{args.out} is split by {manifest['split']} already; write to another folder")
    counts = ", ".join(f"{count} to {split}" for split, count in manifest["pairs"].items())
    print(f"{args.out}: {len(made)} videos made{rate}; {len(records) - len(left_out)} in all, {len(left_out)} left out")
    print(f"pairs: {counts}; modalities: {', '.join(store.modalities)}")


if __name__ == "__main__":
    cli.run(main)
