"""Turns motions into codes: one JSON file of all clips of a dataset.

  python -m tokenizer.encode_joints checkpoints/joints-arm.safetensors '[libero_goal:traj1]' --out codes.json
  python -m tokenizer.encode_joints checkpoints/joints-humanoid.safetensors clips/ --out codes.json

The codes go back to motions with python -m tokenizer.decode_joints, and to a robot with python -m robot_bridge.play.
--sliding instead writes the codes of the window at every frame, for search, as an NPZ: codes (w, s), starts (w, 2) clip
and frame.
"""

from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track

from common import cli
from common.files import replacing
from demos.roots import DataRoots
from tokenizer.joints.clips import read_clips
from tokenizer.joints.code_files import encoded, write_codes
from tokenizer.joints.codes import sliding_codes
from tokenizer.joints.model import JointTokenizer


def main(argv: list[str]) -> None:
    parser = cli.CommandParser("tokenizer.encode_joints", __doc__)
    parser.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help="a joint tokenizer")
    parser.add_argument("datasets", metavar="DATASETS", help="motions: a file, a folder, or [libero_goal:traj1]")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="codes.json, or with --sliding an .npz")
    DataRoots.add_options(parser, tracks=False)
    parser.add_argument("--motions", metavar="NUMBERS", help="which of them: 0,2,5-12 or names; all by default")
    parser.add_argument("--sliding", action="store_true", help="of the window at every frame")
    args = parser.parse_args(argv)

    tokenizer = JointTokenizer.load(args.checkpoint)
    clips = read_clips(args.datasets, args.demos_root, tokenizer.config, tokenizer.frame_rate, args.motions)
    console = Console(stderr=True)
    shown = track(clips, "clips", console=console, disable=not console.is_terminal)
    if args.sliding:
        found = sliding_codes(tokenizer, [clip.features for clip in shown])
        with replacing(args.out) as temporary, open(temporary, "wb") as file:
            np.savez(file, codes=found.codes.numpy(), starts=found.starts.numpy())
    else:
        write_codes(args.out, tokenizer, args.checkpoint, [encoded(tokenizer, clip) for clip in shown])
    print(f"wrote {args.out}: {len(clips)} clips, {tokenizer.rate:g} codes a second of {tokenizer.codebook_size}")


if __name__ == "__main__":
    cli.run(main)
