"""Measures a masked model on held-out pairs: what it predicts of each modality, and the next frames it generates.

  python -m tokenizer.evaluate_multimodal CHECKPOINT tokens/ --images images.safetensors
  python -m tokenizer.evaluate_multimodal CHECKPOINT tokens/ --images images.safetensors --split eval --limit 100

Loss (nats) and accuracy are of tokens that are masked as in training. Then the next frame is generated from the present
one: PSNR and SSIM of the image, and how far (px of 256) joints are off, beside what standing still would give. Tokens
that were split by pair flatter: nearly every held-out frame is trained on, too.
"""

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track

from common import cli
from common.files import replacing
from tokenizer.multimodal.dataset import ALL, TokenDataset
from tokenizer.multimodal.evaluation import generated, prediction
from tokenizer.multimodal.generation import targets_of
from tokenizer.multimodal.meaning import Meaning
from tokenizer.multimodal.model import KIND, MaskedModel
from tokenizer.multimodal.split import SPLITS
from tokenizer.sampling import Sampling
from training import checkpoint


def parser() -> cli.CommandParser:
    """The command line."""
    command = cli.CommandParser("tokenizer.evaluate_multimodal", __doc__)
    command.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help="a masked model")
    command.add_argument("tokens", type=Path, metavar="TOKENS", help="folder of tokens")
    command.add_argument("--images", required=True, metavar="TOKENIZER", help="image tokenizer that made the tokens")
    command.add_argument("--split", choices=(*SPLITS, ALL), default="test", help="default test")
    command.add_argument(
        "--wanted", default="coords_next:10,tok_rgb_next:8", metavar="NAMES", help="name or name:steps"
    )
    command.add_argument("--temperature", type=float, default=0.0, help="default 0, the likeliest")
    command.add_argument("--limit", type=cli.positive, help="pairs, spread evenly (default all)")
    command.add_argument("--seed", type=cli.not_negative, default=0, help="default 0")
    command.add_argument("--out", type=Path, metavar="FILE", help="default CHECKPOINT with .evaluation.json as suffix")
    cli.add_device(command)
    return command


def main(argv: list[str]) -> None:
    args = parser().parse_args(argv)
    digest = checkpoint.read(args.checkpoint, KIND).digest
    model = MaskedModel.load(args.checkpoint).to(args.device)
    meaning = Meaning.read(args.checkpoint, args.images, args.device)
    data = TokenDataset([args.tokens], args.split, model.config, args.limit)
    console = Console(stderr=True)

    def shown(batches: list[np.ndarray]) -> Iterable[np.ndarray]:
        return track(batches, "pairs", console=console, disable=not console.is_terminal)

    predicted = prediction(model, data, args.seed, shown)
    targets = targets_of(args.wanted, Sampling(args.temperature))
    frames = generated(model, data, meaning, targets, args.seed, shown)
    unit = data.stores[0].manifest()["split"]

    print(f"{len(data)} pairs of {args.split} of {args.tokens}, split by {unit}")
    print(f"{'':16s}{'loss':>10s}{'accuracy':>10s}")
    for name in model.config.modalities:
        if f"loss_{name}" in predicted:
            print(f"{name:16s}{predicted[f'loss_{name}']:10.3f}{predicted[f'accuracy_{name}']:10.3f}")
    print(f"{'next frame':24s}{'generated':>10s}{'still':>10s}")
    for name, value in frames["generated"].items():
        print(f"{name:24s}{value:10.3f}{frames['still'][name]:10.3f}")
    document = {"checkpoint": str(args.checkpoint), "digest": digest, "tokens": str(args.tokens), "split": args.split}
    document |= {"split_by": unit, "pairs": len(data), "prediction": predicted, "next_frame": frames}
    out = args.out or args.checkpoint.with_suffix(".evaluation.json")
    with replacing(out) as temporary:
        temporary.write_text(json.dumps(document, indent=1) + "\n")
    print(f"wrote {out}")


if __name__ == "__main__":
    cli.run(main)
