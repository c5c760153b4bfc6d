"""Takes a bundle apart into the three checkpoints that trainers take, so that a policy can be trained further.

  python -m policy.unbundle checkpoints/default.safetensors --out runs/parts
  python -m policy.train_inverse --config-name inverse_small run_name=mine train_datasets='[mine:action1]' \\
      init_from=runs/parts/inverse_dynamics.safetensors \\
      motion_tokenizer_checkpoint=runs/parts/motion_tokenizer.safetensors \\
      forward_dynamics_checkpoint=runs/parts/forward_dynamics.safetensors

python -m policy.bundle puts them together again.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from common import cli
from policy.load import build
from training import checkpoint
from training.checkpoint import unique_weights


def unbundle(bundle: Path, folder: Path) -> list[Path]:
    """Writes the tokenizer, forward and inverse dynamics of ``bundle`` into ``folder``; returns their paths.

    Raises:
        CheckpointError: it is no bundle.
    """
    found = checkpoint.read(bundle, "bundle")
    policy = build(found)
    config = policy.motion_tokenizer.config.to_dict()
    kinds = ("motion_tokenizer", "forward_dynamics", "inverse_dynamics")
    of_all = {"from_bundle": found.digest, **policy.origin.to_info()}
    infos = [_training(found.info, kind) | of_all for kind in kinds]
    embeddings = found.text_embeddings
    paths = [folder / f"{kind}.safetensors" for kind in kinds]
    tokenizer_model, forward, inverse = policy.motion_tokenizer, policy.forward_dynamics, policy.inverse_dynamics
    tokenizer = checkpoint.save(paths[0], kinds[0], {"model": config}, unique_weights(tokenizer_model), infos[0])
    described = {"model": forward.config.to_dict(), "tokenizer": config}
    built_on = {"tokenizer_digest": tokenizer}
    digest = checkpoint.save(paths[1], kinds[1], described, unique_weights(forward), infos[1] | built_on, embeddings)
    described = {"model": inverse.config.to_dict(), "tokenizer": config}
    built_on |= {"forward_digest": digest}
    checkpoint.save(paths[2], kinds[2], described, unique_weights(inverse), infos[2] | built_on, embeddings)
    return paths


def _training(info: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """How a part came about, as far as its bundle knows."""
    return {name: value for name, value in info.get("parts", {}).get(kind, {}).items() if name != "digest"}


def main(argv: list[str]) -> None:
    parser = cli.CommandParser("policy.unbundle", __doc__)
    parser.add_argument("bundle", type=Path, help="a bundle (.safetensors)")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="writes the three checkpoints there")
    args = parser.parse_args(argv)
    for path in unbundle(args.bundle, args.out):
        print(f"wrote {path}")


if __name__ == "__main__":
    cli.run(main)
