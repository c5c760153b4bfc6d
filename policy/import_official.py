"""Converts published AMPLIFY files (.pt): bundles, and checkpoints of tokenizer, forward and inverse dynamics.

  python -m policy.import_official policy.pt --text-embeddings preprocessed_data
  python -m policy.import_official tokenizer.pt
  python -m policy.import_official forward.pt --tokenizer tokenizer.pt --vision_weights resnet18.safetensors

Nothing in the files is executed, and what came of them is run once before it is kept. Weights keep their names but for
two things: the vision encoder, which both dynamics models share, is stored under the first of them, and buffers that
follow from the config are dropped.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from common import cli
from common.conventions import PROPRIO_DIM
from common.errors import UserError
from demos.origin import Origin
from demos.text_embeddings import read_text_embeddings
from policy.amplify import Amplify
from policy.bundle import save_bundle
from policy.forward_dynamics import ForwardConfig, ForwardDynamics
from policy.inverse_dynamics import InverseConfig, InverseDynamics
from policy.published import forward_config, inverse_config, policy_weights
from policy.recipes.models import read_forward, read_inverse
from policy.text import TEXT_DIM
from tokenizer.tracks.model import MotionTokenizer, TokenizerConfig
from tokenizer.tracks.published import read_tokenizer, tokenizer_config
from training import checkpoint
from training.checkpoint import Checkpoint, CheckpointError, load_weights
from training.published_file import read_published, reading
from training.typed_config import from_mapping


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


def kind_of(path: Path) -> str:
    """What a published file holds, by its config; as ``Checkpoint.kind`` says it.

    Raises:
        CheckpointError: it is damaged, would run code, or is no published file.
    """
    config = read_published(path, "file")[0]["config"]
    marks = {
        "motion_tokenizer_cfg": "bundle",
        "forward_dynamics": "forward_dynamics",
        "cond_on_tracks": "inverse_dynamics",
        "codebook_size": "motion_tokenizer",
    }
    for mark, kind in marks.items():
        if mark in config:
            return kind
    raise CheckpointError(f"{path} is not a published AMPLIFY file: its config is of none of its models")


def import_bundle(path: Path, out: Path, embeddings: Mapping[str, Tensor]) -> str:
    """Writes a published bundle as ours, after it has acted once; returns the digest."""
    policy = convert(path, embeddings)
    height, width = policy.image_size
    images = np.full((1, len(policy.views), height, width, 3), 128, np.uint8)
    actions = policy.act(images, None, list(embeddings)[:1] or np.zeros((1, TEXT_DIM)))
    _check_numbers(path, {**policy.state_dict(), "actions": torch.from_numpy(actions)})
    return save_bundle(policy, out, info={"source": path.name})


def import_part(path: Path, out: Path, kind: str, tokenizer: Path | None, vision_weights: Path | None) -> str:
    """Writes a published part as a training checkpoint of ours, after it has computed once; returns the digest."""
    found = read_tokenizer(path if kind == "motion_tokenizer" else _given(path, tokenizer))
    motion = MotionTokenizer(from_mapping(TokenizerConfig, found.config["model"], str(found.path)))
    c = motion.config
    load_weights(motion, found)
    images = torch.full((1, len(c.views), *c.img_shape, 3), 0.5)
    text, proprio = torch.zeros(1, TEXT_DIM), torch.zeros(1, PROPRIO_DIM)
    with torch.inference_mode():
        codes, indices = motion.eval().encode(
            torch.zeros(1, len(c.views), c.num_velocities, c.num_tracks, 2), images if c.cond_on_img else None
        )
        if kind == "motion_tokenizer":
            result = motion.decode(codes)
        elif kind == "forward_dynamics":
            found = read_forward(path, found, vision_weights)
            forward = ForwardDynamics(from_mapping(ForwardConfig, found.config["model"], str(path)), c, motion.quantize)
            load_weights(forward, found)
            result = forward.eval().logits(forward.encode(images, text), indices)
        else:
            found = read_inverse(path, found, vision_weights)
            inverse = InverseDynamics(from_mapping(InverseConfig, found.config["model"], str(path)), c)
            load_weights(inverse, found)
            condition, _ = inverse.eval().encode(images, text, proprio, codes)
            result = inverse.act(condition, inverse.head.noise(1, seed=0))
    _check_numbers(path, {**found.weights, "result": result})
    return checkpoint.save(out, kind, found.config, found.weights, found.info)


def _given(path: Path, tokenizer: Path | None) -> Path:
    if tokenizer is None:
        raise UserError(f"{path} does not say what motion its codes are of; name its tokenizer with --tokenizer FILE")
    return tokenizer


def _check_numbers(path: Path, values: Mapping[str, Tensor]) -> None:
    for name, value in values.items():
        if not torch.isfinite(value).all():
            raise UserError(f"{path} is damaged: there is what is no number in {name}")


def main(argv: list[str]) -> None:
    parser = cli.CommandParser("policy.import_official", __doc__)
    parser.add_argument("bundle", type=Path, metavar="FILE", help="a published AMPLIFY file (.pt)")
    parser.add_argument("--out", type=Path, help="file to write (default: checkpoints/NAME.safetensors)")
    parser.add_argument(
        "--text-embeddings",
        type=Path,
        metavar="DIR",
        help="the instructions a bundle is to know: the folder with SUITE/text/TASK.hdf5 that AMPLIFY's preprocessing "
        "wrote",
    )
    parser.add_argument(
        "--tokenizer", type=Path, metavar="FILE", help="for dynamics models: the tokenizer of their codes"
    )
    parser.add_argument(
        "--vision_weights", type=Path, metavar="FILE", help="for dynamics models: the resnet18 weights they do not hold"
    )
    args = parser.parse_args(argv)
    out = args.out or Path("checkpoints") / f"{args.bundle.stem}.safetensors"
    if (kind := kind_of(args.bundle)) != "bundle":
        digest = import_part(args.bundle, out, kind, args.tokenizer, args.vision_weights)
        print(f"wrote {out}, a {kind} checkpoint, which has been run once, hash {digest}")
        return
    embeddings: dict[str, Tensor] = {}
    if args.text_embeddings is not None:
        embeddings = {text: torch.from_numpy(x) for text, x in read_text_embeddings(args.text_embeddings).items()}
        if not embeddings:
            raise UserError(f"no text embeddings in {args.text_embeddings}; it must hold SUITE/text/TASK.hdf5")
    digest = import_bundle(args.bundle, out, embeddings)
    print(f"wrote {out}, hash {digest}" + (f"; it knows {len(embeddings)} instructions" if embeddings else ""))
    print("it has been opened and has acted once")
    if not embeddings:
        print(
            "published bundles hold no embeddings of instructions: as text, every instruction becomes zeros, and the "
            "policy cannot tell them apart; import it again with --text-embeddings DIR to mend that"
        )


if __name__ == "__main__":
    cli.run(main)
