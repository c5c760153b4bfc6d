"""Prints what a checkpoint is, what it was trained on and with, and what it needs: any bundle, any part of one.

  python -m policy.info checkpoints/default.safetensors

Measures are those of the held-out episodes that the training run named; where there were none, there are none.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from textwrap import wrap
from typing import Any

from torch import Tensor

from common import cli
from demos.origin import Origin
from policy.forward_dynamics import ForwardConfig
from policy.inverse_dynamics import InverseConfig
from policy.text import TextConfig
from tokenizer.fsq import FSQ
from tokenizer.tracks.metrics import metrics_text
from tokenizer.tracks.model import TokenizerConfig
from training import checkpoint
from training.checkpoint import Checkpoint
from training.typed_config import from_mapping


def describe(found: Checkpoint) -> str:
    """Everything worth knowing about ``found``, some lines."""
    lines = [f"{found.path}: {found.kind}, hash {found.digest}, {_millions(found.weights)}"]
    if found.kind == "bundle":
        lines[0] += f", named '{found.config['name']}'"
        lines += _needs(found)
    lines += _origin(found.info)
    if "source" in found.info:
        lines.append(f"imported from {found.info['source']}")
    if "averaged" in found.info:
        shares = ", ".join(f"{share:g} of {digest}" for digest, share in found.info["averaged"].items())
        lines.append(f"the mean of {shares}; how its parts were trained is the first one's")
    if "training" in found.config:
        lines += _training(found.info, found.config["training"])
    for kind, info in found.info.get("parts", {}).items():
        weights = {name: w for name, w in found.weights.items() if name.startswith(kind)}
        lines += ["", f"{kind}: hash {info['digest']}, {_millions(weights)}", *_history(info)]
    lines += ["", "made with " + ", ".join(f"{name} {version}" for name, version in found.versions.items())]
    return "\n".join(lines)


def _needs(found: Checkpoint) -> Iterator[str]:
    """What a bundle takes and gives."""
    where = str(found.path)
    tokenizer = from_mapping(TokenizerConfig, found.config["motion_tokenizer"], where)
    forward = from_mapping(ForwardConfig, found.config["forward_dynamics"], where)
    inverse = from_mapping(InverseConfig, found.config["inverse_dynamics"], where)
    height, width = tokenizer.img_shape
    yield f"takes images of {' and '.join(tokenizer.views)}, {height} x {width}, seen by {forward.vision_encoder.name}"
    if inverse.cond_on_proprio:
        yield f"takes proprioception, {inverse.proprio_dim} numbers"
    yield f"takes the instruction as {_text(forward.text_encoder, found)}"
    what = "numbers" if inverse.action_key == "actions" else "numbers, joint angles (rad) and the gripper"
    yield f"gives {inverse.action_horizon} actions of {inverse.action_dim} {what} ({inverse.type} head)"
    yield (
        f"thinks in {tokenizer.num_codes} codes out of {FSQ(tokenizer.hidden_dim, tokenizer.codebook_size).num_codes}, "
        f"for the motion of {tokenizer.num_tracks} points a view over {tokenizer.track_pred_horizon} frames"
    )


def _text(config: TextConfig, found: Checkpoint) -> str:
    if config.name != "preprocessed":
        return "words" if config.name == "words" else "words, which a T5 reads"
    known = len(found.text_embeddings)
    return "a stored embedding, or as text: " + (f"one of the {known} it knows" if known else "all alike to it")


def _origin(info: Mapping[str, Any]) -> Iterator[str]:
    origin = Origin.from_info(info)
    if origin.assets:
        yield f"learned from images of the assets {', '.join(origin.assets)}"
    if origin.instructions:
        yield f"{len(origin.instructions)} instructions:"
        yield from (f"  {instruction}" for instruction in origin.instructions)


def _history(info: Mapping[str, Any]) -> Iterator[str]:
    """How a part of a bundle came about; one that was published does not tell much."""
    if "from_bundle" in info:
        yield f"taken out of the bundle {info['from_bundle']}"
    if "data" in info:
        yield from _training(info)
    elif "source" in info:
        yield f"imported from {info['source']}, which does not say what it was trained on"


def _training(info: Mapping[str, Any], settings: Mapping[str, Any] | None = None) -> Iterator[str]:
    """What a training run used, and what came of it; ``settings`` are its own."""
    data = info["data"]
    yield from wrap(f"trained on {', '.join(data['train'])}: {info['samples']} samples", 110, subsequent_indent="  ")
    yield f"{info['step']} steps of {info['batch_size']} samples in {info['minutes']:g} minutes"
    if settings is not None:
        names = ("run_name", "lr", "lr_schedule", "weight_decay", "ema", "precision", "seed", "init_from")
        yield ", ".join(f"{name} {settings[name]}" for name in names if settings.get(name) is not None)
    for name in ("tokenizer", "forward"):
        if info.get(f"{name}_digest"):
            yield f"builds on {name} {info[f'{name}_digest']}"
    if "code_source" in info:
        yield f"saw codes of: {info['code_source']}"
    if info["metrics"]:
        yield from wrap(f"measured on {', '.join(data['val'])}:", 110, subsequent_indent="  ")
        single, *tracks = metrics_text(info["metrics"]).splitlines()
        yield from wrap(single, 110, initial_indent="  ", subsequent_indent="  ")
        yield from tracks


def _millions(weights: Mapping[str, Tensor]) -> str:
    return f"{sum(weight.numel() for weight in weights.values()) / 1e6:.2f} M weights"


def main(argv: list[str]) -> None:
    parser = cli.CommandParser("policy.info", __doc__)
    parser.add_argument("checkpoint", type=Path, help="a .safetensors file of ours")
    args = parser.parse_args(argv)
    print(describe(checkpoint.read(args.checkpoint)))


if __name__ == "__main__":
    cli.run(main)
