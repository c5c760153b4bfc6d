"""Takes a bundle apart into the three checkpoints that trainers take, so that a policy can be trained further.

  python -m policy.unbundle checkpoints/default.safetensors --out runs/parts
  python -m policy.train_inverse --config-name inverse_small run_name=mine train_datasets='[mine:action1]' \\
      init_from=runs/parts/inverse_dynamics.safetensors \\
      motion_tokenizer_checkpoint=runs/parts/motion_tokenizer.safetensors \\
      forward_dynamics_checkpoint=runs/parts/forward_dynamics.safetensors

python -m policy.bundle puts them together again.
"""

from pathlib import Path

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
    info = {"from_bundle": found.digest, **policy.origin.to_info()}
    embeddings = found.text_embeddings
    paths = [folder / f"{kind}.safetensors" for kind in ("motion_tokenizer", "forward_dynamics", "inverse_dynamics")]
    tokenizer = checkpoint.save(
        paths[0], "motion_tokenizer", {"model": config}, unique_weights(policy.motion_tokenizer), info
    )
    info |= {"tokenizer_digest": tokenizer}
    forward, inverse = policy.forward_dynamics, policy.inverse_dynamics
    described = {"model": forward.config.to_dict(), "tokenizer": config}
    digest = checkpoint.save(paths[1], "forward_dynamics", described, unique_weights(forward), info, embeddings)
    info |= {"forward_digest": digest}
    described = {"model": inverse.config.to_dict(), "tokenizer": config}
    checkpoint.save(paths[2], "inverse_dynamics", described, unique_weights(inverse), info, embeddings)
    return paths


def main(argv: list[str]) -> None:
    parser = cli.CommandParser("policy.unbundle", __doc__)
    parser.add_argument("bundle", type=Path, help="a bundle (.safetensors)")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="writes the three checkpoints there")
    args = parser.parse_args(argv)
    for path in unbundle(args.bundle, args.out):
        print(f"wrote {path}")


if __name__ == "__main__":
    cli.run(main)
