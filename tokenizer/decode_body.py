"""Turns vectors into body motions: files as they were encoded from, and a film of a stick figure.

  python -m tokenizer.decode_body checkpoints/body.safetensors vectors.npz --out again
  python -m tokenizer.decode_body checkpoints/body.safetensors vectors.npz --out again --film again.mp4
  python -m tokenizer.decode_body checkpoints/body.safetensors --sample 4 --out invented --film invented.mp4

vectors.npz is written by python -m tokenizer.encode_body. --sample draws vectors from the standard normal distribution
instead, which shows what the tokenizer takes for motion.
"""

from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import torch

from common import cli
from common.errors import UserError
from demos.body_motion import BodyMotion, write_body_motion
from tokenizer.body.features import body_of
from tokenizer.body.film import film
from tokenizer.body.model import BodyTokenizer

SAMPLED = 38
"""Vectors of a sampled motion: five seconds."""


def decoded(tokenizer: BodyTokenizer, name: str, vectors: np.ndarray, frames: int | None = None) -> BodyMotion:
    """The motion of vectors (s, z), its first ``frames`` frames if there are more."""
    body = body_of(tokenizer.decode(torch.from_numpy(vectors)[None])[0, :frames])
    return BodyMotion(
        body.head_position.numpy(),
        body.head_rotation.numpy(),
        body.joint_positions.numpy(),
        body.joint_rotations.numpy(),
        sequence=name,
        frame_rate=tokenizer.frame_rate,
    )


def read_vectors(path: Path, width: int) -> dict[str, tuple[np.ndarray, int]]:
    """Vectors (s, z) and frames of each motion in a file.

    Raises:
        UserError: it is no such file, or of a tokenizer with vectors of another width.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            names = [name for name in file.files if not name.endswith(".frames")]
            found = {name: (file[name], int(file[f"{name}.frames"])) for name in names}
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
        raise UserError(
            f"{path} is no file of vectors ({error}); python -m tokenizer.encode_body writes them"
        ) from None
    for name, (vectors, _) in found.items():
        if vectors.ndim != 2 or vectors.shape[1] != width or not np.isfinite(vectors).all():
            raise UserError(f"{path}: {name} has shape {vectors.shape}, expected (s, {width}) finite numbers")
    return found


def main(argv: list[str]) -> None:
    parser = cli.CommandParser("tokenizer.decode_body", __doc__)
    parser.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help="the body tokenizer")
    parser.add_argument("vectors", nargs="?", type=Path, metavar="VECTORS", help="an .npz file")
    parser.add_argument("--sample", type=cli.positive, metavar="N", help="draw N motions instead of reading vectors")
    parser.add_argument("--seed", type=cli.not_negative, default=0, help="decides the draws (default 0)")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="writes DIR/NAME.h5")
    parser.add_argument("--film", type=Path, metavar="FILE", help="an MP4 of the motions, one after the other")
    args = parser.parse_args(argv)
    if (args.vectors is None) == (args.sample is None):
        raise UserError("name a file of VECTORS, or how many motions to --sample")

    tokenizer = BodyTokenizer.load(args.checkpoint)
    if args.sample:
        drawn = np.random.default_rng(args.seed).standard_normal((args.sample, SAMPLED, tokenizer.latent_width))
        motions = [decoded(tokenizer, f"sample_{i:03d}", z) for i, z in enumerate(drawn.astype(np.float32))]
    else:
        found = read_vectors(args.vectors, tokenizer.latent_width)
        motions = [decoded(tokenizer, name, *vectors) for name, vectors in found.items()]
    for motion in motions:
        write_body_motion(args.out / f"{motion.sequence}.h5", motion)
    print(f"wrote {len(motions)} motions to {args.out}")
    if args.film is not None:
        film(args.film, motions)
        print(f"wrote {args.film}")


if __name__ == "__main__":
    cli.run(main)
