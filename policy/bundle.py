"""Puts a tokenizer, forward dynamics and inverse dynamics into one file that ``policy.load_policy`` opens."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from common import cli
from common.errors import require
from demos.origin import Origin
from policy.amplify import Amplify
from policy.forward_dynamics import ForwardConfig
from policy.inverse_dynamics import InverseConfig
from policy.load import build, bundle_config
from policy.recipes.models import read_forward, read_inverse
from tokenizer.tracks.model import TokenizerConfig
from tokenizer.tracks.published import read_tokenizer
from training import checkpoint
from training.checkpoint import Checkpoint, CheckpointError, load_weights, unique_weights
from training.typed_config import from_mapping


def save_bundle(policy: Amplify, path: Path, half: bool = False, info: dict[str, Any] | None = None) -> str:
    """Writes ``policy``; with ``half`` its matrices as bfloat16 (the quantiser stays exact). Returns the digest."""
    weights = unique_weights(policy)
    if half:
        weights = {
            name: w.bfloat16() if w.ndim > 1 and w.is_floating_point() and ".quantize." not in name else w
            for name, w in weights.items()
        }
    info = {**(info or {}), **policy.origin.to_info()}
    embeddings = {text: torch.from_numpy(x) for text, x in policy.known_instructions.embeddings.items()}
    return checkpoint.save(path, "bundle", bundle_config(policy), weights, info, embeddings)


def combine(tokenizer: Checkpoint, forward: Checkpoint, inverse: Checkpoint, name: str) -> Amplify:
    """One policy from three training checkpoints, which must belong together."""
    config = tokenizer.config["model"]
    for other in (forward, inverse):
        if other.config["tokenizer"] != config:
            raise CheckpointError(f"{other.path} was trained with another tokenizer config than {tokenizer.path} has")
        theirs = other.info.get("tokenizer_digest")
        if theirs != tokenizer.digest:
            raise CheckpointError(
                f"{other.path} was trained with the tokenizer {theirs}, {tokenizer.path} is {tokenizer.digest}; "
                f"bundle it with the tokenizer it was trained with"
            )
    learned_from = inverse.info.get("forward_digest")
    if learned_from is not None and learned_from != forward.digest:
        raise CheckpointError(
            f"{inverse.path} learned from the codes of the forward dynamics {learned_from}, {forward.path} is "
            f"{forward.digest}; bundle it with the forward dynamics it learned from"
        )
    forward_config = from_mapping(ForwardConfig, forward.config["model"], str(forward.path))
    inverse_config = from_mapping(InverseConfig, inverse.config["model"], str(inverse.path))
    share = _shares_vision(forward_config, inverse_config, forward.weights, inverse.weights)
    origins = [Origin.from_info(part.info) for part in (forward, inverse, tokenizer)]
    policy = Amplify(
        from_mapping(TokenizerConfig, config, str(tokenizer.path)),
        forward_config,
        inverse_config,
        share,
        name,
        origin=origins[0] | origins[1] | Origin(assets=origins[2].assets),
        text_embeddings=_text_embeddings(forward, inverse),
    )
    load_weights(policy.motion_tokenizer, tokenizer)
    # loaded after the tokenizer whose (frozen) quantiser it holds a copy of
    load_weights(policy.forward_dynamics, forward)
    load_weights(policy.inverse_dynamics, inverse)
    return policy


def _text_embeddings(forward: Checkpoint, inverse: Checkpoint) -> dict[str, Tensor]:
    """Those that either was trained on; refused where they differ."""
    for text, embedding in forward.text_embeddings.items():
        if not torch.equal(embedding, inverse.text_embeddings.get(text, embedding)):
            raise CheckpointError(
                f"{forward.path} and {inverse.path} were trained on different embeddings of {text!r}; train both on "
                "the same files"
            )
    return forward.text_embeddings | inverse.text_embeddings


def _shares_vision(
    forward: ForwardConfig, inverse: InverseConfig, weights: Mapping[str, Tensor], others: Mapping[str, Tensor]
) -> bool:
    """Whether both models hold the same vision encoder, and it sees images alone."""
    if not inverse.cond_on_img or forward.vision_encoder.reads_text:
        return False
    ours, theirs = (replace(part.vision_encoder, weights=None) for part in (forward, inverse))
    names = [name for name in weights if name.startswith("vision_encoder.")]
    return ours == theirs and all(name in others and torch.equal(weights[name], others[name]) for name in names)


def main(argv: list[str]) -> None:
    parser = cli.CommandParser("policy.bundle", __doc__)
    parser.add_argument("--mt_ckpt", type=Path, help="motion tokenizer (latest.safetensors of its run)")
    parser.add_argument("--fd_ckpt", type=Path, help="forward dynamics trained with that tokenizer")
    parser.add_argument("--id_ckpt", type=Path, help="inverse dynamics trained with both of them")
    parser.add_argument("--policy", type=Path, help="instead of the three: a bundle, as policy.train_dynamics makes it")
    parser.add_argument("--name", required=True, help="name of the policy; also of the file")
    parser.add_argument("--out", type=Path, help="file to write (default: checkpoints/NAME.safetensors)")
    parser.add_argument(
        "--vision_weights",
        type=Path,
        metavar="FILE",
        help="pretrained resnet18 weights, for published checkpoints (.pt), which do not hold them",
    )
    parser.add_argument("--half", action="store_true", help="store matrices as bfloat16: half the size")
    args = parser.parse_args(argv)
    parts = (args.mt_ckpt, args.fd_ckpt, args.id_ckpt)
    require(
        all(parts) if args.policy is None else not any(parts),
        "give --mt_ckpt, --fd_ckpt and --id_ckpt, or --policy instead of them",
    )
    if args.policy is not None:
        found = checkpoint.read(args.policy, "bundle")
        policy, info = build(found), found.info
        policy.name = args.name
    else:
        tokenizer = read_tokenizer(args.mt_ckpt)
        forward = read_forward(args.fd_ckpt, tokenizer, args.vision_weights)
        inverse = read_inverse(args.id_ckpt, tokenizer, args.vision_weights)
        policy = combine(tokenizer, forward, inverse, args.name)
        info = {"parts": {part.kind: {"digest": part.digest, **part.info} for part in (tokenizer, forward, inverse)}}
    out = args.out or Path("checkpoints") / f"{args.name}.safetensors"
    digest = save_bundle(policy, out, args.half, info)
    parameters = sum(p.numel() for p in policy.parameters())
    print(f"wrote {out}: {parameters / 1e6:.2f} M parameters, {out.stat().st_size / 1e6:.1f} MB, hash {digest}")


if __name__ == "__main__":
    cli.run(main)
