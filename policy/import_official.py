"""Published AMPLIFY bundles (.pt) -> our bundles.

The weights keep their names but for two things: the vision encoder, which both dynamics models share, is stored under
the first of them, and buffers that follow from the config are dropped.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from common import cli
from common.errors import UserError
from demos.origin import Origin
from demos.text_embeddings import read_text_embeddings
from policy.amplify import Amplify
from policy.bundle import save_bundle
from policy.published import forward_config, inverse_config, policy_weights
from tokenizer.tracks.published import tokenizer_config
from training.checkpoint import Checkpoint, load_weights
from training.published_file import read_published, reading


def convert(path: Path, text_embeddings: Mapping[str, Tensor] | None = None) -> Amplify:
    """Reads a published bundle without executing anything in it; ``text_embeddings`` (512,) are by instruction."""
    published, _ = read_published(path, "bundle")
    with reading(path, "bundle"):
        config = published["config"]
        tokenizer = config["motion_tokenizer_cfg"]
        policy = Amplify(
            tokenizer_config(tokenizer),
            forward_config(config["forward_dynamics_cfg"]),
            inverse_config(config["inverse_dynamics_cfg"], tokenizer["true_horizon"]),
            share_vision_encoder=True,
            name=path.stem,
            origin=Origin(instructions=tuple(text_embeddings or ())),
            text_embeddings=text_embeddings,
        )
    renamed = {
        name.replace("img_encoder.", "forward_dynamics.vision_encoder.", 1): tensor
        for name, tensor in policy_weights(published["model"]).items()
        # the quantiser is one module of tokenizer and forward dynamics, stored twice
        if not name.startswith("forward_dynamics.quantize.")
    }
    load_weights(policy, Checkpoint("bundle", {}, renamed, path=path))
    return policy


def main(argv: list[str]) -> None:
    parser = cli.CommandParser("policy.import_official", __doc__)
    parser.add_argument("bundle", type=Path, help="a published AMPLIFY bundle (.pt)")
    parser.add_argument("--out", type=Path, help="file to write (default: checkpoints/NAME.safetensors)")
    parser.add_argument(
        "--text-embeddings",
        type=Path,
        metavar="DIR",
        help="the instructions it is to know: the folder with SUITE/text/TASK.hdf5 that AMPLIFY's preprocessing wrote",
    )
    args = parser.parse_args(argv)
    embeddings: dict[str, Tensor] = {}
    if args.text_embeddings is not None:
        embeddings = {text: torch.from_numpy(x) for text, x in read_text_embeddings(args.text_embeddings).items()}
        if not embeddings:
            raise UserError(f"no text embeddings in {args.text_embeddings}; it must hold SUITE/text/TASK.hdf5")
    out = args.out or Path("checkpoints") / f"{args.bundle.stem}.safetensors"
    digest = save_bundle(convert(args.bundle, embeddings), out, info={"source": args.bundle.name})
    print(f"wrote {out}, hash {digest}" + (f"; it knows {len(embeddings)} instructions" if embeddings else ""))
    if not embeddings:
        print(
            "published bundles hold no embeddings of instructions: as text, every instruction becomes zeros, and the "
            "policy cannot tell them apart; import it again with --text-embeddings DIR to mend that"
        )


if __name__ == "__main__":
    cli.run(main)
