"""Measures how much of body motion survives a Motion VAE.

  python -m tokenizer.evaluate_body checkpoints/body.safetensors data/bodies_held_out
  python -m tokenizer.evaluate_body runs/body_tokenizer/*/best.safetensors data/bodies_held_out

Motions are encoded and decoded in one piece. Errors are of joints in the world and as seen from the head (MPJPE, mm),
of the head (mm, degrees), of movement from frame to frame (mm) and of joints' rotations (degrees). Datasets are those
of python -m tokenizer.train_body; several checkpoints make a table.
"""

import json
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track
from torch import Tensor

from common import cli
from common.files import replacing
from demos.body_motion import body_motion_files
from tokenizer.body.data import features_of_all, filled_up, read_all
from tokenizer.body.measures import pose_errors
from tokenizer.body.model import KIND, BodyTokenizer
from training import checkpoint

COLUMNS = {
    "mpjpe_mm": "MPJPE mm",
    "local_mpjpe_mm": "from head",
    "head_mm": "head mm",
    "joint_velocity_mm": "a frame mm",
    "head_deg": "head deg",
    "joint_deg": "joints deg",
}


def evaluate(tokenizer: BodyTokenizer, motions: list[Tensor]) -> dict[str, float]:
    """Means over the motions, features (t, d), weighted by their frames."""
    found, frames = [], []
    console = Console(stderr=True)
    for features in track(motions, "motions", console=console, disable=not console.is_terminal):
        rebuilt = tokenizer.decode(tokenizer.encode(filled_up(features)[None]))[:, : len(features)]
        valid = rebuilt.new_ones(1, len(features))
        found.append({name: float(x) for name, x in pose_errors(rebuilt, features[None], valid).items()})
        frames.append(len(features))
    return {name: float(np.average([one[name] for one in found], weights=frames)) for name in found[0]}


def main(argv: list[str]) -> None:
    parser = cli.CommandParser("tokenizer.evaluate_body", __doc__)
    parser.add_argument("checkpoints", nargs="+", type=Path, metavar="CHECKPOINT", help="body tokenizers")
    parser.add_argument("motions", metavar="MOTIONS", help="a folder or a file of body motion")
    parser.add_argument("--out", type=Path, metavar="FILE", help="default CHECKPOINT with .evaluation.json as suffix")
    args = parser.parse_args(argv)

    motions = features_of_all(read_all(body_motion_files([args.motions])))
    print(f"{len(motions)} motions of {args.motions}")
    print(f"{'latents':>8s}" + "".join(f"{title:>12s}" for title in COLUMNS.values()))
    for path in args.checkpoints:
        tokenizer = BodyTokenizer.load(path)
        measures = evaluate(tokenizer, motions)
        out = args.out or path.with_suffix(".evaluation.json")
        document = {"checkpoint": str(path), "digest": checkpoint.read(path, KIND).digest, "motions": args.motions}
        with replacing(out) as temporary:
            temporary.write_text(json.dumps(document | measures, indent=1) + "\n")
        values = "".join(f"{measures[name]:12.4g}" for name in COLUMNS)
        print(f"{tokenizer.latent_width:8d}{values}  {path}; wrote {out}")


if __name__ == "__main__":
    cli.run(main)
