"""Published AMPLIFY bundles (.pt) -> our bundles.

The weights keep their names but for two things: the vision encoder, which both dynamics models share, is stored under
the first of them, and buffers that follow from the config are dropped.
"""

import pathlib
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from common import cli
from common.errors import UserError
from demos.origin import Origin
from demos.text_embeddings import read_text_embeddings
from policy.amplify import Amplify
from policy.bundle import save_bundle
from policy.forward_dynamics import ForwardConfig
from policy.inverse_dynamics import InverseConfig
from policy.text import TextConfig
from policy.vision import VisionConfig
from tokenizer.tracks.published import model_weights, tokenizer_config
from training.checkpoint import Checkpoint, CheckpointError, load_weights


def vision_config(c: Mapping[str, Any]) -> VisionConfig:
    if c["model_name"] != "resnet18" or not c["get_patches"] or c["get_cls_and_patches"] or c["patch_pooling"]:
        raise CheckpointError(f"the vision encoder {dict(c)} is not supported; only resnet18 with get_patches is")
    return VisionConfig("resnet18", c.get("img_size", 224))


def forward_config(c: Mapping[str, Any]) -> ForwardConfig:
    model = c["forward_dynamics"]
    if not model["text_encoder"]["use_preprocessed_embs"]:
        raise CheckpointError("its T5 text encoder is not supported; only use_preprocessed_embs=true is")
    trunk = model["transformer"]
    return ForwardConfig(
        num_layers=trunk["n_layer"],
        num_heads=trunk["n_head"],
        dropout=trunk["dropout"],
        bias=trunk["bias"],
        vision_encoder=vision_config(model["vision_encoder"]),
        text_encoder=TextConfig("preprocessed"),
    )


def inverse_config(c: Mapping[str, Any], tokenizer: Mapping[str, Any]) -> InverseConfig:
    if c["type"] != "gaussian":
        raise CheckpointError(f"its {c['type']} action head is not supported; only gaussian is")
    return InverseConfig(
        num_layers=c["num_layers"],
        num_heads=c["num_heads"],
        attn_pdrop=c["attn_pdrop"],
        action_dim=c["action_dim"],
        proprio_dim=c["proprio_dim"],
        action_horizon=tokenizer["true_horizon"],  # published: the tokenizer's config says how many actions
        std=c["std"],
        action_squash=c["action_squash"],
        action_squash_scale=c["action_squash_scale"],
        action_loss_discount=c["action_loss_discount"],
        cond_on_tracks=c["cond_on_tracks"],
        cond_on_proprio=c["cond_on_proprio"],
        cond_on_img=c["cond_on_img"],
        cond_on_text=c["cond_on_text"],
        vision_encoder=vision_config(c["vision_encoder"]),
        text_encoder=TextConfig("preprocessed"),
    )


def convert(path: Path, text_embeddings: Mapping[str, Tensor] | None = None) -> Amplify:
    """Reads a published bundle without executing anything in it; ``text_embeddings`` (512,) are by instruction."""
    try:
        with torch.serialization.safe_globals([pathlib.PosixPath]):
            published = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise CheckpointError(f"no file at {path}") from None
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        reason = str(error).splitlines()[0]
        raise CheckpointError(f"{path} cannot be read safely ({reason})") from None
    try:
        config = published["config"]
        tokenizer = config["motion_tokenizer_cfg"]
        policy = Amplify(
            tokenizer_config(tokenizer),
            forward_config(config["forward_dynamics_cfg"]),
            inverse_config(config["inverse_dynamics_cfg"], tokenizer),
            share_vision_encoder=True,
            name=path.stem,
            origin=Origin(instructions=tuple(text_embeddings or ())),
            text_embeddings=text_embeddings,
        )
    except (KeyError, TypeError) as error:
        raise CheckpointError(f"{path} is not a published AMPLIFY bundle: {error} is missing") from None
    renamed = {
        name.replace("img_encoder.", "forward_dynamics.vision_encoder.", 1): tensor
        for name, tensor in model_weights(published["model"]).items()
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
