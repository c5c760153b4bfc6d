"""Turns body motions into vectors: one NPZ file of all motions of a folder.

  python -m tokenizer.encode_body checkpoints/body.safetensors data/bodies --out vectors.npz

The file holds an array (s, z) float32 for each motion, under the name of its file, and how many frames it had under
NAME.frames. python -m tokenizer.decode_body makes motions of it again.
"""

from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track

from common import cli
from common.files import replacing
from demos.body_motion import body_motion_files
from tokenizer.body.data import features_of_all, filled_up, read_all
from tokenizer.body.model import BodyTokenizer


def main(argv: list[str]) -> None:
    parser = cli.CommandParser("tokenizer.encode_body", __doc__)
    parser.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help="a body tokenizer")
    parser.add_argument("motions", metavar="MOTIONS", help="a folder or a file of body motion")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="an .npz file")
    args = parser.parse_args(argv)

    tokenizer, files = BodyTokenizer.load(args.checkpoint), body_motion_files([args.motions])
    motions, console = features_of_all(read_all(files)), Console(stderr=True)
    arrays: dict[str, np.ndarray] = {}
    shown = track(motions, "motions", console=console, disable=not console.is_terminal)
    for path, features in zip(files, shown, strict=True):
        arrays[path.stem] = tokenizer.encode(filled_up(features)[None])[0].numpy()
        arrays[f"{path.stem}.frames"] = np.array(len(features))
    with replacing(args.out) as temporary, open(temporary, "wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]
    print(f"wrote {args.out}: {len(files)} motions, {tokenizer.rate:g} vectors of {tokenizer.latent_width} a second")


if __name__ == "__main__":
    cli.run(main)
