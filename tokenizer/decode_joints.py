"""Turns codes into motions: an NPY file, and a film of a model that moves so.

  python -m tokenizer.decode_joints codes.json --out again.npy
  python -m tokenizer.decode_joints codes.json --out again.npy --film again.mp4 --model humanoid.xml

codes.json is written by python -m tokenizer.encode_joints, or by hand: {"tokenizer": "joints-arm.safetensors",
"codes": [3, 17, 17, 201]}. --code 17 instead shows what one code means, among its like.
"""

from pathlib import Path

from common import cli
from common.errors import UserError
from demos.motion_files import write_npy
from tokenizer.joints.code_files import decode_file
from tokenizer.joints.codes import block
from tokenizer.joints.features import motion_of
from tokenizer.joints.film import film
from tokenizer.joints.model import JointTokenizer


def main(argv: list[str]) -> None:
    parser = cli.CommandParser("tokenizer.decode_joints", __doc__)
    parser.add_argument("codes", type=Path, metavar="CODES", help="file of codes (.json); with --code a tokenizer")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="the motions, as NPY")
    parser.add_argument("--tokenizer", type=Path, help="the checkpoint, if not the one that the file names")
    parser.add_argument("--code", type=cli.not_negative, metavar="N", help="what code N of the tokenizer CODES means")
    parser.add_argument("--film", type=Path, metavar="FILE", help="an MP4 of the motions")
    parser.add_argument("--model", type=Path, metavar="FILE", help="MJCF that is filmed")
    args = parser.parse_args(argv)
    if args.film is not None and args.model is None:
        raise UserError("--film needs --model, the MJCF of what moves; see --help")

    if args.code is None:
        motions, _ = decode_file(args.codes, args.tokenizer)
    else:
        tokenizer = JointTokenizer.load(args.codes)
        c = tokenizer.config
        shown = block(tokenizer, args.code, c.window_size // c.frames_per_code)
        motions = [motion_of(shown, c.features, tokenizer.frame_rate, f"code {args.code}")]
    write_npy(args.out, motions)
    print(f"wrote {args.out}: {len(motions)} motions, {sum(motion.seconds for motion in motions):.1f} s")
    if args.film is not None:
        film(args.film, motions, args.model)
        print(f"wrote {args.film}")


if __name__ == "__main__":
    cli.run(main)
